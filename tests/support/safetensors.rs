//! A safetensors file to edit: a header of JSON and the bytes after it, true or not.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

/// A file in its two parts.
pub struct File {
    pub header: Map<String, Value>,
    pub data: Vec<u8>,
}

impl File {
    /// Reads a whole file.
    pub fn read(path: &Path) -> Self {
        let bytes = fs::read(path).expect("a file");
        let (length, rest) = bytes.split_at(8);
        let length = u64::from_le_bytes(length.try_into().expect("8 bytes"));
        let (header, data) = rest.split_at(usize::try_from(length).expect("a length"));
        Self { header: serde_json::from_slice(header).expect("a header"), data: data.to_vec() }
    }

    /// A file of f32 tensors: name, shape and elements.
    pub fn of(tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Self {
        let mut file = Self { header: Map::new(), data: Vec::new() };
        for (name, shape, numbers) in tensors {
            let begin = file.data.len();
            file.data.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, file.data.len()] });
            file.header.insert(name.clone(), entry);
        }
        file
    }

    /// The file's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let header = serde_json::to_vec(&self.header).expect("JSON");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&self.data);
        bytes
    }

    /// Writes the file as it stands.
    pub fn write(&self, path: &Path) {
        fs::write(path, self.bytes()).expect("written");
    }

    /// Names of the tensors in the order of their bytes.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.header.keys().filter(|name| *name != "__metadata__").cloned().collect();
        names.sort_by_key(|name| self.span(name).0);
        names
    }

    /// First and last byte of a tensor in the data.
    pub fn span(&self, name: &str) -> (usize, usize) {
        let at = |i: usize| {
            let number = self.header[name]["data_offsets"][i].as_u64().expect("an offset");
            usize::try_from(number).expect("an offset")
        };
        (at(0), at(1))
    }

    /// The bytes of a tensor.
    pub fn tensor(&mut self, name: &str) -> &mut [u8] {
        let (begin, end) = self.span(name);
        &mut self.data[begin..end]
    }

    /// Sets every element of a bf16 tensor.
    pub fn fill(&mut self, name: &str, value: f32) {
        assert_eq!(self.header[name]["dtype"], "BF16");
        let high = [value.to_le_bytes()[2], value.to_le_bytes()[3]];
        self.tensor(name).chunks_exact_mut(2).for_each(|element| element.copy_from_slice(&high));
    }

    /// The elements of a tensor of bf16 or f32.
    pub fn numbers(&mut self, name: &str) -> Vec<f32> {
        match self.header[name]["dtype"].as_str() {
            Some("BF16") => self.tensor(name).chunks_exact(2).map(|b| f32::from_le_bytes([0, 0, b[0], b[1]])).collect(),
            Some("F32") => {
                self.tensor(name).chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes"))).collect()
            }
            dtype => panic!("{name} is {dtype:?}"),
        }
    }

    /// Sets the elements of a tensor of bf16 or f32, rounded to even.
    pub fn put(&mut self, name: &str, numbers: &[f32]) {
        let round = |number: f32| {
            let bits = number.to_bits();
            (bits + 0x7fff + (bits >> 16 & 1)).to_le_bytes()
        };
        let bytes: Vec<u8> = if self.header[name]["dtype"] == "BF16" {
            numbers.iter().flat_map(|number| [round(*number)[2], round(*number)[3]]).collect()
        } else {
            numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
        };
        self.tensor(name).copy_from_slice(&bytes);
    }

    /// Sets one key of a tensor's entry in the header.
    pub fn set(&mut self, name: &str, key: &str, value: Value) {
        self.header[name][key] = value;
    }

    /// Renames tensors; the bytes stay.
    pub fn rename(&mut self, name: impl Fn(&str) -> String) {
        let header = std::mem::take(&mut self.header);
        self.header = header.into_iter().map(|(key, value)| (name(&key), value)).collect();
    }

    /// A part of the file with these tensors only, laid out anew.
    pub fn part(&self, keep: impl Fn(&str) -> bool) -> Self {
        let mut part = Self { header: Map::new(), data: Vec::new() };
        for name in self.names().iter().filter(|name| keep(name)) {
            let (begin, end) = self.span(name);
            let start = part.data.len();
            part.data.extend_from_slice(&self.data[begin..end]);
            let mut entry = self.header[name].clone();
            entry["data_offsets"] = json!([start, part.data.len()]);
            part.header.insert(name.clone(), entry);
        }
        part
    }
}

/// Edits a file in place.
pub fn edit(path: &Path, change: impl FnOnce(&mut File)) {
    let mut file = File::read(path);
    change(&mut file);
    file.write(path);
}
