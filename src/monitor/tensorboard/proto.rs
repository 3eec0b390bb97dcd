//! The few protobuf messages of an event file, encoded with the field numbers of TensorFlow's definitions.
//!
//! As in protoc's code for proto3, a number field that is 0 is not written. Sources: `event.proto`, `summary.proto`,
//! `histogram.proto` and `tensor.proto` of TensorFlow; the encoding is that of protobuf.dev.

use super::histogram::{BUCKETS, Histogram};
use alloc::vec::Vec;

/// A protobuf message under construction: the bytes of its encoded fields.
#[derive(Clone, Debug, Default)]
pub(super) struct Message(pub Vec<u8>);

/// The protobuf wire type of an integer of variable length.
const VARINT: u64 = 0;
/// The protobuf wire type of 8 bytes.
const EIGHT_BYTES: u64 = 1;
/// The protobuf wire type of a length followed by that many bytes.
const LENGTH: u64 = 2;
/// The protobuf wire type of 4 bytes.
const FOUR_BYTES: u64 = 5;

impl Message {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, encoding: u64) {
        self.varint(field << 3 | encoding);
    }

    fn integer(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.key(field, VARINT);
            self.varint(value);
        }
    }

    fn double(&mut self, field: u64, value: f64) {
        if value.to_bits() != 0 {
            self.key(field, EIGHT_BYTES);
            self.0.extend(value.to_le_bytes());
        }
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, LENGTH);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn packed(&mut self, field: u64, values: &[f64]) {
        self.key(field, LENGTH);
        self.varint(8 * values.len() as u64);
        values.iter().for_each(|value| self.0.extend(value.to_le_bytes()));
    }
}

/// The encoder of the events of a file, with buffers that it reuses.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    event: Message,
    summary: Message,
    value: Message,
    inner: Message,
    limits: Vec<f64>,
    counts: Vec<f64>,
}

impl Encoder {
    /// Creates an encoder whose buffers need not grow for a histogram, if the tags are shorter than about 200 bytes.
    pub(super) fn new() -> Self {
        let message = || Message(Vec::with_capacity(2 * size_of::<f64>() * BUCKETS + 256));
        let [event, summary, value, inner] = [(); 4].map(|()| message());
        let [limits, counts] = [(); 2].map(|()| Vec::with_capacity(BUCKETS));
        Encoder { event, summary, value, inner, limits, counts }
    }

    /// Encodes the first event of a file, which states its format. `wall_time` is in seconds since 1970. The fields of
    /// an event are `Event { wall_time: 1, step: 2, file_version: 3 | summary: 5 }`.
    pub(super) fn version(&mut self, wall_time: f64) -> &[u8] {
        self.event.clear();
        self.event.double(1, wall_time);
        self.event.bytes(3, b"brain.Event:2");
        &self.event.0
    }

    /// Encodes an event at `step` with the scalars, histograms and texts that were added since the last event; `None`
    /// if there are none. `wall_time` is in seconds since 1970.
    pub(super) fn event(&mut self, wall_time: f64, step: u64) -> Option<&[u8]> {
        if self.summary.0.is_empty() {
            return None;
        }
        self.event.clear();
        self.event.double(1, wall_time);
        // An int64: the rest of the range is negative.
        self.event.integer(2, step.min(i64::MAX as u64));
        self.event.bytes(5, &self.summary.0);
        self.summary.clear();
        Some(&self.event.0)
    }

    /// Adds a scalar, rounded to `f32`, to the next event: `Summary { value: 1 }` of `Value { tag: 1, simple_value: 2
    /// (float) }`.
    pub(super) fn scalar(&mut self, tag: &str, value: f64) {
        self.value.clear();
        self.value.bytes(1, tag.as_bytes());
        // `simple_value` is one of several alternative fields, so it is written even if it is 0.
        self.value.key(2, FOUR_BYTES);
        self.value.0.extend((value as f32).to_le_bytes());
        self.summary.bytes(1, &self.value.0);
    }

    /// Adds a histogram to the next event: `Value { tag: 1, histo: 5 }` of `HistogramProto { min: 1, max: 2, num: 3,
    /// sum: 4, sum_squares: 5, bucket_limit: 6 (packed), bucket: 7 (packed) }`.
    pub(super) fn histogram(&mut self, tag: &str, histogram: &Histogram) {
        let Encoder { summary, value, inner, limits, counts, .. } = self;
        histogram.buckets(limits, counts);
        inner.clear();
        inner.double(1, histogram.min);
        inner.double(2, histogram.max);
        inner.double(3, histogram.values as f64);
        inner.double(4, histogram.sum);
        inner.double(5, histogram.sum_of_squares);
        inner.packed(6, limits);
        inner.packed(7, counts);
        value.clear();
        value.bytes(1, tag.as_bytes());
        value.bytes(5, &inner.0);
        summary.bytes(1, &value.0);
    }

    /// Adds a text to the next event: `Value { tag: 1, tensor: 8, metadata: 9 }`: `TensorProto { dtype: 1,
    /// tensor_shape: 2, string_val: 8 }` and `SummaryMetadata { plugin_data: 1 { plugin_name: 1 }, data_class: 4 }`, as
    /// the text plugin reads it.
    pub(super) fn text(&mut self, tag: &str, text: &str) {
        const STRING: u64 = 7;
        const TENSOR: u64 = 2;
        let Encoder { summary, value, inner, .. } = self;
        value.clear();
        value.bytes(1, tag.as_bytes());
        inner.clear();
        inner.integer(1, STRING);
        inner.bytes(2, &[]);
        inner.bytes(8, text.as_bytes());
        value.bytes(8, &inner.0);
        let mut plugin = Message::default();
        plugin.bytes(1, b"text");
        inner.clear();
        inner.bytes(1, &plugin.0);
        inner.integer(4, TENSOR);
        value.bytes(9, &inner.0);
        summary.bytes(1, &value.0);
    }
}
