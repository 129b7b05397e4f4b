//! A structured mutator of GGUF files: it knows where each field of the header is, so that
//! it damages counts, types, names, dimensions and offsets rather than megabytes of weights.

use crate::random::Random;

/// A field of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// First byte.
    pub at: usize,
    /// Bytes.
    pub len: usize,
    /// What the field means.
    pub kind: Kind,
}

/// What a field means: each kind is damaged in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Magic, version.
    Start,
    /// Number of tensors, keys, array elements, dimensions, or bytes of a string.
    Count,
    /// Type of a value, or of a tensor.
    Type,
    /// Bytes of a string.
    Text,
    /// A number of the metadata.
    Number,
    /// A dimension of a tensor.
    Dimension,
    /// Offset of a tensor.
    Offset,
}

/// Every field of a well-formed file's header, and where the header ends.
pub fn fields(file: &[u8]) -> (Vec<Field>, usize) {
    let mut walk = Walk {
        file,
        at: 0,
        fields: Vec::new(),
    };
    walk.take(4, Kind::Start);
    walk.take(4, Kind::Start);
    let tensors = walk.count();
    let keys = walk.count();
    for _ in 0..keys {
        walk.text();
        let kind = walk.u32(Kind::Type);
        walk.value(kind);
    }
    for _ in 0..tensors {
        walk.text();
        let rank = walk.u32(Kind::Count);
        (0..rank).for_each(|_| walk.take(8, Kind::Dimension));
        walk.u32(Kind::Type);
        walk.take(8, Kind::Offset);
    }
    (walk.fields, walk.at)
}

struct Walk<'f> {
    file: &'f [u8],
    at: usize,
    fields: Vec<Field>,
}

impl Walk<'_> {
    fn take(&mut self, len: usize, kind: Kind) {
        self.fields.push(Field {
            at: self.at,
            len,
            kind,
        });
        self.at += len;
    }

    fn u32(&mut self, kind: Kind) -> u32 {
        let at = self.at;
        self.take(4, kind);
        u32::from_le_bytes(self.file[at..at + 4].try_into().expect("four bytes"))
    }

    fn count(&mut self) -> usize {
        let at = self.at;
        self.take(8, Kind::Count);
        u64::from_le_bytes(self.file[at..at + 8].try_into().expect("eight bytes")) as usize
    }

    fn text(&mut self) {
        let len = self.count();
        self.take(len, Kind::Text);
    }

    fn value(&mut self, kind: u32) {
        match kind {
            0 | 1 | 7 => self.take(1, Kind::Number),
            2 | 3 => self.take(2, Kind::Number),
            4..=6 => self.take(4, Kind::Number),
            8 => self.text(),
            9 => {
                let kind = self.u32(Kind::Type);
                let len = self.count();
                (0..len).for_each(|_| self.value(kind));
            }
            _ => self.take(8, Kind::Number),
        }
    }
}

const COUNTS: [u64; 10] = [
    0,
    1,
    2,
    31,
    255,
    65_536,
    1 << 31,
    u32::MAX as u64,
    1 << 62,
    u64::MAX,
];
const NUMBERS: [u64; 12] = [
    0,
    1,
    2,
    3,
    7,
    8,
    1024,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    0x7F80_0000,
    0x7FC0_0000,
    0xBF80_0000,
];

/// One mutant of `file`, whose fields are given: one to three kinds of damage.
pub fn mutate(file: &[u8], fields: &[Field], header: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for _ in 0..1 + random.below(3) {
        damage(&mut bytes, fields, header, random);
    }
    bytes
}

fn damage(bytes: &mut Vec<u8>, fields: &[Field], header: usize, random: &mut Random) {
    // Most fields are in the vocabulary's arrays; half of the picks are other fields.
    let interesting = |f: &&Field| !matches!(f.kind, Kind::Text | Kind::Count);
    let field = match random.below(2) {
        0 => random.pick(fields),
        _ => {
            let few: Vec<&Field> = fields.iter().filter(interesting).collect();
            *random.pick(&few)
        }
    };
    match random.below(12) {
        0 => bytes.truncate(field.at),
        1 => bytes.truncate(field.at + random.below(field.len + 1)),
        2 => flip(bytes, random.below(header), random),
        3 => (0..8).for_each(|_| flip(bytes, random.below(header), random)),
        4 => poison_weights(bytes, header, random),
        5 => swap(bytes, fields, field.kind, random),
        6 => bytes.truncate(header + random.below(bytes.len().saturating_sub(header))),
        _ => overwrite(bytes, field, random),
    }
}

fn flip(bytes: &mut [u8], at: usize, random: &mut Random) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

/// Writes NaN, infinities and noise over some weights.
fn poison_weights(bytes: &mut [u8], header: usize, random: &mut Random) {
    let patterns: [[u8; 4]; 5] = [
        [0, 0, 0xC0, 0x7F],
        [0, 0, 0x80, 0x7F],
        [0x00, 0x7C, 0x00, 0xFC],
        [0xFF; 4],
        [0xFF, 0xFF, 0x7F, 0x7F],
    ];
    for _ in 0..1 + random.below(64) {
        let at = header + random.below(bytes.len().saturating_sub(header + 4));
        let pattern = random.pick(&patterns);
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&pattern);
        }
    }
}

/// Copies one field over another of the same kind: makes duplicate names, overlapping
/// tensors, wrong types.
fn swap(bytes: &mut [u8], fields: &[Field], kind: Kind, random: &mut Random) {
    let same: Vec<&Field> = fields.iter().filter(|f| f.kind == kind).collect();
    let (a, b) = (*random.pick(&same), *random.pick(&same));
    let len = a.len.min(b.len);
    let copy = bytes.get(a.at..a.at + len).map(<[u8]>::to_vec);
    if let (Some(copy), Some(place)) = (copy, bytes.get_mut(b.at..b.at + len)) {
        place.copy_from_slice(&copy);
    }
}

fn overwrite(bytes: &mut [u8], field: Field, random: &mut Random) {
    let value = match field.kind {
        Kind::Count | Kind::Dimension => random.pick(&COUNTS),
        Kind::Type => random.below(48) as u64,
        Kind::Offset => match random.below(3) {
            0 => 0,
            1 => random.pick(&COUNTS),
            _ => (random.below(1 << 20) as u64) * 32,
        },
        Kind::Start => random.below(5) as u64,
        Kind::Number => random.pick(&NUMBERS),
        Kind::Text => random.next_u64(),
    };
    let len = field.len.min(8);
    if let Some(place) = bytes.get_mut(field.at..field.at + len) {
        place.copy_from_slice(&value.to_le_bytes()[..len]);
    }
}
