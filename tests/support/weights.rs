//! A whole model in memory, as numbers: read from a folder, changed, written to another.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use half::{bf16, f16};
use serde_json::{Map, Value, json};

use super::safetensors::File;

/// A number format. All of them are exact in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    F32,
    Bf16,
    F16,
    /// F8 E4M3 without infinities ("FN"): largest 448.
    F8,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::Bf16 => "BF16",
            Self::F16 => "F16",
            Self::F8 => "F8_E4M3",
        }
    }

    fn encode(self, number: f32) -> Vec<u8> {
        match self {
            Self::F32 => number.to_le_bytes().to_vec(),
            Self::Bf16 => bf16::from_f32(number).to_le_bytes().to_vec(),
            Self::F16 => f16::from_f32(number).to_le_bytes().to_vec(),
            Self::F8 => vec![to_f8(number)],
        }
    }

    /// The nearest number that this format has.
    pub fn round(self, number: f32) -> f32 {
        match self {
            Self::F32 => number,
            Self::Bf16 => bf16::from_f32(number).to_f32(),
            Self::F16 => f16::from_f32(number).to_f32(),
            Self::F8 => from_f8(to_f8(number)),
        }
    }
}

/// The number that a byte of F8 E4M3 means.
fn from_f8(byte: u8) -> f32 {
    let sign = if byte & 0x80 == 0 { 1.0 } else { -1.0 };
    let (exponent, mantissa) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    sign * if exponent == 0 { mantissa / 512.0 } else { (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7) }
}

/// The byte of F8 E4M3 nearest to a number, the even one of two.
fn to_f8(number: f32) -> u8 {
    let size = number.abs().min(448.0);
    // 0x7f is no number.
    let upper = (0..0x7fu8).find(|byte| from_f8(*byte) >= size).unwrap_or(0x7e);
    let lower = upper.saturating_sub(1);
    let (above, below) = (from_f8(upper) - size, size - from_f8(lower));
    let nearest = if above < below || (above <= below && upper & 1 == 0) { upper } else { lower };
    nearest | if number.is_sign_negative() { 0x80 } else { 0 }
}

/// One tensor, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub format: Format,
    pub values: Vec<f32>,
}

impl Tensor {
    /// Rows and columns of a matrix; a vector is one column.
    pub fn sides(&self) -> (usize, usize) {
        let rows = self.shape.first().copied().unwrap_or(1);
        (rows, self.values.len() / rows)
    }

    /// New row i is old row `from[i]`; the count may differ.
    pub fn take_rows(&mut self, from: &[usize]) {
        let (_, columns) = self.sides();
        self.values = from.iter().flat_map(|row| self.values[row * columns..][..columns].to_vec()).collect();
        self.shape[0] = from.len();
    }

    /// New column i is old column `from[i]`; the count may differ.
    pub fn take_columns(&mut self, from: &[usize]) {
        let (_, columns) = self.sides();
        let rows = self.values.chunks_exact(columns);
        self.values = rows.flat_map(|row| from.iter().map(|column| row[*column]).collect::<Vec<f32>>()).collect();
        *self.shape.last_mut().expect("a matrix") = from.len();
    }

    /// The matrix the other way round.
    pub fn turn(&mut self) {
        let (rows, columns) = self.sides();
        self.values = (0..rows * columns).map(|at| self.values[at % rows * columns + at / rows]).collect();
        self.shape = vec![columns, rows];
    }

    /// Every row times its factor.
    pub fn scale_rows(&mut self, factors: &[f64]) {
        let (rows, columns) = self.sides();
        assert_eq!(rows, factors.len());
        for (at, value) in self.values.iter_mut().enumerate() {
            *value = (f64::from(*value) * factors[at / columns]) as f32;
        }
    }

    /// Every column times its factor.
    pub fn scale_columns(&mut self, factors: &[f64]) {
        let (_, columns) = self.sides();
        assert_eq!(columns, factors.len());
        for (at, value) in self.values.iter_mut().enumerate() {
            *value = (f64::from(*value) * factors[at % columns]) as f32;
        }
    }

    /// `m` times the rows from `first` on, as many as `m` has.
    pub fn mix_rows(&mut self, first: usize, m: &[Vec<f64>]) {
        let (_, columns) = self.sides();
        let old: Vec<f32> = self.values[first * columns..][..m.len() * columns].to_vec();
        for (i, row) in m.iter().enumerate() {
            for j in 0..columns {
                let sum: f64 = row.iter().enumerate().map(|(k, x)| x * f64::from(old[k * columns + j])).sum();
                self.values[(first + i) * columns + j] = sum as f32;
            }
        }
    }

    /// The columns from `first` on times the transpose of `m`.
    pub fn mix_columns(&mut self, first: usize, m: &[Vec<f64>]) {
        let (_, columns) = self.sides();
        for row in self.values.chunks_exact_mut(columns) {
            let old = row[first..first + m.len()].to_vec();
            for (i, weights) in m.iter().enumerate() {
                let sum: f64 = weights.iter().zip(&old).map(|(a, b)| a * f64::from(*b)).sum();
                row[first + i] = sum as f32;
            }
        }
    }
}

/// Tensors by name, the configuration and the tokenizer.
#[derive(Clone, Debug)]
pub struct Model {
    pub tensors: BTreeMap<String, Tensor>,
    pub config: Map<String, Value>,
    pub tokenizer: Option<Value>,
}

impl Model {
    /// Reads a folder of one safetensors file of f32 or bf16.
    pub fn read(folder: &Path) -> Self {
        let mut file = File::read(&folder.join("model.safetensors"));
        let mut tensors = BTreeMap::new();
        for name in file.names() {
            let entry = &file.header[&name];
            let format = if entry["dtype"] == "BF16" { Format::Bf16 } else { Format::F32 };
            let shape = entry["shape"].as_array().expect("a shape").iter().map(count).collect();
            tensors.insert(name.clone(), Tensor { shape, format, values: file.numbers(&name) });
        }
        let json = |name: &str| fs::read(folder.join(name)).ok().map(|b| serde_json::from_slice(&b).expect("JSON"));
        let Some(Value::Object(config)) = json("config.json") else { panic!("{}: config.json", folder.display()) };
        Self { tensors, config, tokenizer: json("tokenizer.json") }
    }

    /// Writes a folder in place of whatever is there.
    pub fn write(&self, folder: &Path) {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).expect("a folder");
        let mut file = File { header: Map::new(), data: Vec::new() };
        for (name, tensor) in &self.tensors {
            let start = file.data.len();
            file.data.extend(tensor.values.iter().flat_map(|number| tensor.format.encode(*number)));
            let offsets = [start, file.data.len()];
            let entry = json!({"dtype": tensor.format.name(), "shape": tensor.shape, "data_offsets": offsets});
            file.header.insert(name.clone(), entry);
        }
        file.write(&folder.join("model.safetensors"));
        fs::write(folder.join("config.json"), serde_json::to_vec(&self.config).expect("JSON")).expect("written");
        if let Some(tokenizer) = &self.tokenizer {
            fs::write(folder.join("tokenizer.json"), serde_json::to_vec(tokenizer).expect("JSON")).expect("written");
        }
    }

    /// A whole number of the configuration.
    pub fn size(&self, key: &str) -> usize {
        count(&self.config[key])
    }

    /// Sets a whole number of the configuration.
    pub fn set(&mut self, key: &str, value: usize) {
        self.config.insert(key.to_owned(), value.into());
    }

    /// A tensor that must be there.
    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.get_mut(name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// Names that hold with a test.
    pub fn names(&self, keep: impl Fn(&str) -> bool) -> Vec<String> {
        self.tensors.keys().filter(|name| keep(name)).cloned().collect()
    }

    /// Names with this ending, without it.
    pub fn before(&self, ending: &str) -> Vec<String> {
        self.tensors.keys().filter_map(|name| name.strip_suffix(ending)).map(str::to_owned).collect()
    }
}

fn count(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("a whole number")).expect("a size")
}
