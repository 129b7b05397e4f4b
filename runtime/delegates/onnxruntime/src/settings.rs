//! What the environment says: which execution provider, with which options.

use ondol_plugin::ondol::delegate::Activations;
use ondol_plugin::{Result, unsupported};
use std::env;
use std::path::PathBuf;

/// Environment variable with the path of the library, if the system does not find it.
pub const LIBRARY: &str = "ONDOL_ONNXRUNTIME_LIB";
/// Environment variable with the name of the execution provider: `QNN`, `OpenVINO`, `CPU`.
pub const PROVIDER: &str = "ONDOL_ONNXRUNTIME_PROVIDER";
/// Environment variable with the path of a provider that is a library of its own, not a part of
/// ONNX Runtime's.
pub const PROVIDER_LIBRARY: &str = "ONDOL_ONNXRUNTIME_PROVIDER_LIB";
/// Environment variable with its options: `key=value;key=value`.
pub const OPTIONS: &str = "ONDOL_ONNXRUNTIME_OPTIONS";
/// Environment variable with the type to which it rounds the inputs of a matmul.
pub const ACTIVATIONS: &str = "ONDOL_ONNXRUNTIME_ACTIVATIONS";

/// ONNX Runtime's own provider, which is always there.
const CPU: &str = "CPU";
/// What a provider does not take fails, instead of being computed on the CPU in its name.
const NO_FALLBACK: (&str, &str) = ("session.disable_cpu_ep_fallback", "1");
/// Weights become floats when a session is made. Without this, the CPU provider may round the
/// inputs of matmuls with integer weights to 8 bits.
const FLOAT_WEIGHTS: (&str, &str) = ("session.disable_quant_qdq", "1");

/// An execution provider and its options.
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    /// Its name, as ONNX Runtime's C API has it.
    pub name: String,
    /// Its library, if it is not a part of ONNX Runtime's.
    pub library: Option<PathBuf>,
    /// Its own options.
    pub options: Vec<(String, String)>,
    /// Options of the session.
    pub session: Vec<(String, String)>,
    /// The type to which it rounds the inputs of a matmul.
    pub activations: Activations,
}

impl Provider {
    /// The provider that the environment names; `None` if it names none.
    ///
    /// # Errors
    /// UNSUPPORTED if a variable is not in its format.
    pub fn from_environment() -> Result<Option<Provider>> {
        let set = |variable| env::var(variable).ok().filter(|value| !value.is_empty());
        let Some(name) = set(PROVIDER) else {
            return Ok(None);
        };
        let options = set(OPTIONS).unwrap_or_default();
        let provider = Provider::new(&name, &options, set(ACTIVATIONS).as_deref())?;
        Ok(Some(Provider {
            library: env::var_os(PROVIDER_LIBRARY).map(PathBuf::from),
            ..provider
        }))
    }

    fn new(name: &str, options: &str, activations: Option<&str>) -> Result<Provider> {
        let (session, options) = pairs(options)?
            .into_iter()
            .partition(|(key, _)| key.starts_with("session.") || key.starts_with("ep."));
        let usual = match name {
            CPU => FLOAT_WEIGHTS,
            _ => NO_FALLBACK,
        };
        let mut provider = Provider {
            name: name.to_owned(),
            library: None,
            options,
            session,
            activations: match (activations, name) {
                (Some(told), _) => named(told)?,
                (None, CPU) => Activations::F32,
                (None, _) => Activations::F16,
            },
        };
        // Those of the environment come later, and replace it.
        let usual = (usual.0.to_owned(), usual.1.to_owned());
        provider.session.insert(0, usual);
        Ok(provider)
    }

    /// Whether it is ONNX Runtime's own provider, which must not be added to a session.
    pub fn is_cpu(&self) -> bool {
        self.name == CPU
    }

    /// Whether all of a model is computed by the provider.
    pub fn computes_all(&self) -> bool {
        let (key, value) = NO_FALLBACK;
        let last = self.session.iter().rev().find(|(k, _)| k == key);
        self.is_cpu() || last.is_some_and(|(_, v)| v == value)
    }
}

/// Reads `key=value;key=value`.
fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let items = text.split(';').map(str::trim);
    let items = items.filter(|item| !item.is_empty());
    let pairs = items.map(|item| {
        let pair = item.split_once('=');
        let (key, value) =
            pair.ok_or_else(|| unsupported(format!("{OPTIONS}: `{item}` is not key=value")))?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    });
    pairs.collect()
}

fn named(activations: &str) -> Result<Activations> {
    match activations {
        "f32" => Ok(Activations::F32),
        "f16" => Ok(Activations::F16),
        "bf16" => Ok(Activations::Bf16),
        "i16" => Ok(Activations::I16),
        "i8" => Ok(Activations::I8),
        other => Err(unsupported(format!(
            "{ACTIVATIONS}: `{other}` is not f32, f16, bf16, i16 or i8"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs.map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn options_go_to_the_provider_or_to_the_session() {
        let options = "backend_path=/lib/a=b.so; session.x=1;;htp=3";
        let provider = Provider::new("QNN", options, None).unwrap();
        assert_eq!(
            provider.options,
            owned(&[("backend_path", "/lib/a=b.so"), ("htp", "3")])
        );
        assert_eq!(provider.session, owned(&[NO_FALLBACK, ("session.x", "1")]));
        let failure = Provider::new("QNN", "fast", None).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "ONDOL_ONNXRUNTIME_OPTIONS: `fast` is not key=value"
        );
    }

    #[test]
    fn a_provider_computes_all_unless_told() {
        let all = |name, options| Provider::new(name, options, None).unwrap().computes_all();
        assert!(all("CPU", ""));
        assert!(all("QNN", ""));
        assert!(!all("QNN", "session.disable_cpu_ep_fallback=0"));
    }

    #[test]
    fn activations_are_half_floats_unless_told() {
        let activations = |name, told| Provider::new(name, "", told).map(|p| p.activations);
        assert_eq!(activations("QNN", None).unwrap(), Activations::F16);
        assert_eq!(activations("QNN", Some("i16")).unwrap(), Activations::I16);
        assert_eq!(activations("CPU", None).unwrap(), Activations::F32);
        assert!(activations("CPU", Some("f64")).is_err());
    }
}
