//! Mixes against the choices of llama.cpp's quantizer, for models of several shapes.

use ondol_models::quant::{DType, Mix, ModelShape};

/// One model of the golden file, whose format its script describes.
#[derive(Default)]
struct Model<'a> {
    shape: Vec<&'a str>,
    mixes: Vec<(&'a str, Vec<&'a str>)>,
    tensors: Vec<(&'a str, Vec<u64>)>,
}

impl Model<'_> {
    fn shape(&self) -> ModelShape {
        ModelShape {
            layers: self.shape[0].parse().unwrap(),
            queries_per_kv: self.shape[1].parse().unwrap(),
            experts: self.shape[2].parse().unwrap(),
            tied_head: self.shape[3].parse().unwrap(),
        }
    }
}

fn models(text: &str) -> Vec<Model<'_>> {
    let mut models: Vec<Model> = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let kind = words.next().unwrap();
        if kind == "model" {
            models.push(Model {
                shape: words.collect(),
                ..Model::default()
            });
            continue;
        }
        let model = models.last_mut().unwrap();
        let name = words.next().unwrap();
        if kind == "mix" {
            let usual = words.next().unwrap();
            let types = words.map(|word| if word == "." { usual } else { word });
            model.mixes.push((name, types.collect()));
        } else {
            model
                .tensors
                .push((name, words.map(|word| word.parse().unwrap()).collect()));
        }
    }
    models
}

#[test]
fn types_are_those_of_llama_quantize() {
    let models = models(include_str!("../data/quant_mixes.txt"));
    assert_eq!(models.len(), 6);
    for model in &models {
        let shape = model.shape();
        for (mix, types) in &model.mixes {
            let mix = Mix::from_name(mix).unwrap();
            if mix == Mix::MXFP4 && shape.experts == 0 {
                continue; // Ours is MXFP4 in dense models too.
            }
            assert_eq!(types.len(), model.tensors.len());
            for ((name, dims), expected) in model.tensors.iter().zip(types) {
                // A tensor that is left alone is an F32 of the test's files.
                let ours = mix.tensor_type(name, dims, &shape).unwrap_or(DType::F32);
                assert_eq!(ours.name(), *expected, "{name} in {mix} of {shape:?}");
            }
        }
    }
}
