//! The setting of a device, and its form as a text.

use core::str::FromStr;
use ondol_plugin::ondol::delegate::{Activations, Arithmetic, Group, Quant, Rounding, Store};

/// The properties of a device to open.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// How its matmuls compute.
    pub arithmetic: Arithmetic,
    /// Forms of matrices that it takes.
    pub weights: Vec<Quant>,
    /// Numbers of rows that graphs can have, in ascending order.
    pub rows: Vec<usize>,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting {
            arithmetic: Arithmetic::of(Activations::F32),
            weights: vec![Quant::F32, Quant::F16],
            rows: vec![1, 16, 64, 256],
        }
    }
}

const ACTIVATIONS: [Activations; 5] = [
    Activations::F32,
    Activations::F16,
    Activations::Bf16,
    Activations::I16,
    Activations::I8,
];

const ROUNDINGS: [(&str, Rounding); 3] = [
    ("nearest-even", Rounding::NearestEven),
    ("nearest-away", Rounding::NearestAway),
    ("toward-zero", Rounding::TowardZero),
];

impl Setting {
    /// The arithmetic as a short text, such as `i8-32 sums=32 nearest-even`. A saved program is
    /// only loaded by a device of the same arithmetic.
    pub(crate) fn arch(&self) -> String {
        let arithmetic = &self.arithmetic;
        let group = match (arithmetic.activations.are_integers(), arithmetic.group) {
            (false, _) => String::new(),
            (true, Group::Row) => "-row".to_owned(),
            (true, Group::Of(group)) => format!("-{group}"),
        };
        let named = |(_, rounding): &&(&str, Rounding)| *rounding == arithmetic.rounding;
        let rounding = ROUNDINGS.iter().find(named).map_or("", |(name, _)| name);
        let activations = arithmetic.activations;
        let bits = arithmetic.accumulator_bits;
        format!("{activations}{group} sums={bits} {rounding}")
    }
}

/// Words such as `activations=i8 group=32 sums=32 rounding=nearest-even
/// weights=i8-row,i4-32 rows=1,16,64,256`, in any order. A word that is missing has its value in
/// [`Setting::default`]; a missing `sums` follows from the activations ([`Arithmetic::of`]).
/// Scales of rows are 32-bit floats, scales of groups 16-bit floats.
impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let mut words = Vec::new();
        for word in text.split_whitespace() {
            let pair = word.split_once('=');
            words.push(pair.ok_or_else(|| format!("`{word}` is not key=value"))?);
        }
        let mut setting = Setting::default();
        // First, because the rest of the arithmetic depends on it.
        for (_, value) in words.iter().filter(|(key, _)| *key == "activations") {
            setting.arithmetic = Arithmetic::of(activations(value)?);
        }
        for (key, value) in words {
            let arithmetic = &mut setting.arithmetic;
            match key {
                "activations" => {}
                "group" => arithmetic.group = group(value)?,
                "sums" => arithmetic.accumulator_bits = number(value)? as u32,
                "rounding" => arithmetic.rounding = rounding(value)?,
                "weights" => setting.weights = list(value, form)?,
                "rows" => setting.rows = list(value, number)?,
                _ => return Err(format!("there is no `{key}`")),
            }
        }
        Ok(setting)
    }
}

fn list<T>(text: &str, of: fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(of).collect()
}

/// A number of rows, of a group or of bits: not zero.
fn number(text: &str) -> Result<usize, String> {
    let number: Option<u32> = text.parse().ok().filter(|&n| n > 0);
    let number = number.ok_or_else(|| format!("`{text}` is not a number above 0"))?;
    Ok(number as usize)
}

fn group(text: &str) -> Result<Group, String> {
    match text {
        "row" => Ok(Group::Row),
        _ => number(text).map(Group::Of),
    }
}

fn activations(text: &str) -> Result<Activations, String> {
    let known = ACTIVATIONS.into_iter().find(|a| a.to_string() == text);
    known.ok_or_else(|| format!("there are no activations of `{text}`"))
}

fn rounding(text: &str) -> Result<Rounding, String> {
    let known = ROUNDINGS.into_iter().find(|(name, _)| *name == text);
    let known = known.map(|(_, rounding)| rounding);
    known.ok_or_else(|| format!("there is no rounding `{text}`"))
}

/// A form by the name of [`Quant::id`].
fn form(text: &str) -> Result<Quant, String> {
    let (store, group_of) = match text.split_once('-') {
        None if text == "f32" => return Ok(Quant::F32),
        None if text == "f16" => return Ok(Quant::F16),
        Some(("i8", group_of)) => (Store::I8, group_of),
        Some(("i4", group_of)) => (Store::I4, group_of),
        _ => return Err(format!("there are no weights of `{text}`")),
    };
    let group = group(group_of)?;
    Ok(Quant {
        store,
        group,
        wide_scales: group == Group::Row,
    })
}
