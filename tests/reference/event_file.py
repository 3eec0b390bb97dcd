"""Writes event_file.tfevents with the writer of the Python package `tensorboard`: pip install tensorboard."""

import os
import tempfile

from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.plugins.text import metadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter

VALUES = [0.5, -0.5, 0.0, 1.0, 1.2, -3.0, 0.0, 1e-3, 1e30, 1e-50]


def quarter(exponent, quarters):
    return (1 + quarters / 4) * 2.0**exponent


# Limits between buckets: quarters of octaves from 2^-160 to 2^128, mirrored. A bucket is [limit below, limit above).
POSITIVE = [quarter(e, q) for e in range(-160, 128) for q in range(4)] + [2.0**128]
LIMITS = [-limit for limit in reversed(POSITIVE)] + POSITIVE + [1.7976931348623157e308]


def histogram(values):
    counts = [0] * len(LIMITS)
    for value in values:
        counts[next(i for i, limit in enumerate(LIMITS) if value < limit)] += 1
    proto = summary_pb2.HistogramProto(
        min=min(values), max=max(values), num=len(values), sum=0.0, sum_squares=0.0
    )
    for value in values:
        proto.sum += value
        proto.sum_squares += value * value
    first = next(i for i, count in enumerate(counts) if count > 0)
    last = max(i for i, count in enumerate(counts) if count > 0)
    # One empty bucket for a run of them, and one before the first value.
    for i in range(first - 1, last + 1):
        if proto.bucket and counts[i] == 0 and proto.bucket[-1] == 0:
            proto.bucket_limit.pop()
        else:
            proto.bucket.append(counts[i])
        proto.bucket_limit.append(LIMITS[i])
    return proto


def event(step, **value):
    summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(**value)])
    return event_pb2.Event(wall_time=1.0, step=step, summary=summary)


with tempfile.TemporaryDirectory() as folder:
    writer = EventFileWriter(folder)
    writer.add_event(event(0, tag="zero", simple_value=0.0))
    writer.add_event(event(300, tag="third", simple_value=1 / 3))
    writer.add_event(event(2, tag="histogram", histo=histogram(VALUES)))
    text = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[b"    two\n    lines\n"])
    text.tensor_shape.SetInParent()
    shown = summary_pb2.SummaryMetadata(
        plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME),
        data_class=summary_pb2.DATA_CLASS_TENSOR,
    )
    writer.add_event(event(7, tag="report", tensor=text, metadata=shown))
    writer.close()
    (name,) = os.listdir(folder)
    with open(os.path.join(folder, name), "rb") as source:
        content = source.read()
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "event_file.tfevents"), "wb") as target:
    target.write(content)
