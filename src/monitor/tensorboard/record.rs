//! The framing of an event file: TFRecord.
//!
//! A record is its length (u64), the masked CRC of these 8 bytes (u32), its bytes, and their masked CRC (u32), all
//! little-endian. Source: `tensorflow/core/lib/io/record_writer.h`.

use std::io::{self, Write};

/// The table of CRC32C, polynomial 0x1EDC6F41, reflected. Source: RFC 3720, appendix B.4.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

/// Returns the CRC32C of `bytes` in the form that TFRecord stores: `rotate_right(crc, 15) + 0xa282ead8`. The change is
/// needed for data that contain CRCs themselves, for which a plain CRC would be weak.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Writes `bytes` as one TFRecord: length, CRC of the length, bytes, CRC of the bytes.
pub(super) fn write(writer: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    let length = (bytes.len() as u64).to_le_bytes();
    writer.write_all(&length)?;
    writer.write_all(&masked_crc(&length).to_le_bytes())?;
    writer.write_all(bytes)?;
    writer.write_all(&masked_crc(bytes).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::crc32c;
    use alloc::vec::Vec;

    #[test]
    fn crc_of_rfc_3720_examples_matches() {
        let (up, down): (Vec<u8>, Vec<u8>) = ((0..32).collect(), (0..32).rev().collect());
        for (bytes, crc) in [
            (&[0; 32][..], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&up, 0x46dd_794e),
            (&down, 0x113f_db5c),
            (b"123456789", 0xe306_9283),
        ] {
            assert_eq!(crc32c(bytes), crc, "{bytes:?}");
        }
    }
}
