//! Files of torch's, written byte by byte.
#![allow(clippy::unwrap_used)]

/// A writer of zip archives that can lie.
#[derive(Default)]
pub struct Zip {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

/// What an entry says of itself, where that is not the truth.
#[derive(Clone, Copy, Default)]
pub struct Lie {
    pub flags: u16,
    pub method: u16,
    pub size: Option<u32>,
    pub packed: Option<u32>,
    pub offset: Option<u32>,
    pub zip64: bool,
}

impl Zip {
    pub fn with(self, name: &str, data: &[u8]) -> Self {
        self.lying(name, data, Lie::default())
    }

    pub fn lying(mut self, name: &str, data: &[u8], lie: Lie) -> Self {
        let header = u32::try_from(self.bytes.len()).unwrap();
        let own = u32::try_from(data.len()).unwrap();
        let (size, packed) = (lie.size.unwrap_or(own), lie.packed.unwrap_or(own));
        let length = u16::try_from(name.len()).unwrap().to_le_bytes();
        self.bytes.extend(b"PK\x03\x04\x14\0");
        self.bytes.extend([lie.flags.to_le_bytes(), lie.method.to_le_bytes(), [0; 2], [0; 2], [0; 2], [0; 2]].concat());
        self.bytes.extend([own.to_le_bytes(), own.to_le_bytes()].concat());
        self.bytes.extend([length, [0; 2]].concat());
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(data);
        let extra: Vec<u8> = if lie.zip64 {
            let sizes = [u64::from(size), u64::from(packed), u64::from(header)].map(u64::to_le_bytes).concat();
            [vec![1, 0, 24, 0], sizes].concat()
        } else {
            Vec::new()
        };
        let told = |number: u32| if lie.zip64 { u32::MAX } else { number }.to_le_bytes();
        self.directory.extend(b"PK\x01\x02\x14\0\x14\0");
        self.directory
            .extend([lie.flags.to_le_bytes(), lie.method.to_le_bytes(), [0; 2], [0; 2], [0; 2], [0; 2]].concat());
        self.directory.extend([told(packed), told(size)].concat());
        let extras = u16::try_from(extra.len()).unwrap().to_le_bytes();
        self.directory.extend([length, extras, [0; 2], [0; 2], [0; 2], [0; 2], [0; 2]].concat());
        self.directory.extend(told(lie.offset.unwrap_or(header)));
        self.directory.extend(name.as_bytes());
        self.directory.extend(extra);
        self.count += 1;
        self
    }

    pub fn finish(mut self) -> Vec<u8> {
        let start = u32::try_from(self.bytes.len()).unwrap();
        let size = u32::try_from(self.directory.len()).unwrap();
        self.bytes.append(&mut self.directory);
        self.bytes.extend(b"PK\x05\x06\0\0\0\0");
        self.bytes.extend([self.count.to_le_bytes(), self.count.to_le_bytes()].concat());
        self.bytes.extend([size.to_le_bytes(), start.to_le_bytes()].concat());
        self.bytes.extend([0, 0]);
        self.bytes
    }
}

/// A text as a pickle has it.
pub fn text(words: &str) -> Vec<u8> {
    [b"X".to_vec(), u32::try_from(words.len()).unwrap().to_le_bytes().to_vec(), words.as_bytes().to_vec()].concat()
}

pub fn int(number: i32) -> Vec<u8> {
    [b"J".to_vec(), number.to_le_bytes().to_vec()].concat()
}

/// The tensor of a storage: its elements as said, and the view.
pub fn tensor(key: &str, elements: i32, offset: i32, shape: &[i32], strides: &[i32]) -> Vec<u8> {
    let tuple =
        |numbers: &[i32]| [b"(".to_vec(), numbers.iter().flat_map(|n| int(*n)).collect(), b"t".to_vec()].concat();
    let storage = [text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text(key), text("cpu"), int(elements)].concat();
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
        storage,
        b"tQ".to_vec(),
        int(offset),
        tuple(shape),
        tuple(strides),
        b"\x89ccollections\nOrderedDict\n)RtR".to_vec(),
    ]
    .concat()
}

/// A state dict of these entries.
pub fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> = entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [b"\x80\x02}(".to_vec(), items, b"u.".to_vec()].concat()
}

/// A file of torch with these values: each storage is the next of `floats`.
pub fn saved(pickle: &[u8], floats: &[Vec<f32>]) -> Vec<u8> {
    let mut zip = Zip::default().with("m/data.pkl", pickle).with("m/byteorder", b"little");
    for (key, floats) in floats.iter().enumerate() {
        let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
        zip = zip.with(&format!("m/data/{key}"), &bytes);
    }
    zip.finish()
}

/// Name, shape and elements of a tensor.
pub type Named<'a> = (&'a str, Vec<i32>, Vec<f32>);

/// A tensor in order, of the storage `key`.
pub fn whole(key: usize, shape: &[i32]) -> Vec<u8> {
    let strides: Vec<i32> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
    tensor(&key.to_string(), shape.iter().product(), 0, shape, &strides)
}

/// A file of torch with a state dict.
pub fn state(tensors: &[Named<'_>]) -> Vec<u8> {
    let entries: Vec<(&str, Vec<u8>)> =
        tensors.iter().enumerate().map(|(key, (name, shape, _))| (*name, whole(key, shape))).collect();
    let floats: Vec<Vec<f32>> = tensors.iter().map(|(.., floats)| floats.clone()).collect();
    saved(&dict(&entries), &floats)
}
