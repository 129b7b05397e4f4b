//! Whether a model runs, and how well.

use crate::error::{Result, hint_of_model};
use crate::output;
use ondol_kernels::{ActKind, Isa, Kernels};
use ondol_models::arch;
use ondol_models::gguf::Gguf;
use ondol_models::graph::{Graph, Op};
use ondol_models::template::{ChatTemplate, Message, RenderInput, TemplateOrigin};
use ondol_models::tokenizer::Tokenizer;
use serde::Serialize;

/// Rows of a pass, enough of them that kernels for prefill are chosen.
const PROMPT: usize = 64;

/// Whether a model runs in this build on this computer.
#[derive(Serialize)]
pub struct Verdict {
    /// Whether text can be generated.
    runs: bool,
    /// Architecture, hyperparameters and tensors.
    tensors: Fact,
    /// The vocabulary and how text is split.
    tokenizer: Fact,
    /// The chat template. Without one, a model still completes raw text.
    template: Fact,
    /// The parts that have no fast kernel.
    slow: Vec<String>,
}

/// What was found, or what is wrong.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Fact {
    Ok(String),
    Fault(String),
}

impl Fact {
    fn of(found: ondol_models::Result<String>) -> Fact {
        found.map_or_else(|error| Fact::Fault(reason(&error)), Fact::Ok)
    }

    fn is_ok(&self) -> bool {
        matches!(self, Fact::Ok(_))
    }

    fn text(&self) -> &str {
        match self {
            Fact::Ok(text) | Fact::Fault(text) => text,
        }
    }
}

impl Verdict {
    /// The verdict on a file for these kernels.
    pub fn of(gguf: &Gguf, kernels: Kernels) -> Verdict {
        let graph = arch::build(gguf);
        let slow = graph
            .as_ref()
            .map_or(Vec::new(), |graph| slow(graph, &kernels));
        let tensors = Fact::of(graph.map(|graph| describe(&graph)));
        let tokenizer = Fact::of(Tokenizer::from_gguf(gguf).map(|tokenizer| {
            let model = gguf.str("tokenizer.ggml.model").unwrap_or_default();
            format!("{model}, {} tokens", tokenizer.vocab_size())
        }));
        Verdict {
            runs: tensors.is_ok() && tokenizer.is_ok(),
            tensors,
            tokenizer,
            template: Fact::of(template(gguf)),
            slow,
        }
    }

    /// Prints the verdict as lines.
    pub fn print(&self) -> Result<()> {
        let runs = match (self.runs, self.slow.is_empty()) {
            (true, true) => "yes",
            (true, false) => "yes, but parts are not at full speed",
            (false, _) => "no",
        };
        output::line(format!("runs          {runs}"))?;
        for (name, fact) in [
            ("tensors", &self.tensors),
            ("tokenizer", &self.tokenizer),
            ("template", &self.template),
        ] {
            let mark = if fact.is_ok() { "" } else { "fault: " };
            output::line(format!("  {name:11} {mark}{}", fact.text()))?;
        }
        for part in &self.slow {
            output::line(format!("  slow        {part}"))?;
        }
        Ok(())
    }
}

/// The fault, and what can be done about it.
fn reason(error: &ondol_models::Error) -> String {
    match hint_of_model(error) {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

fn describe(graph: &Graph) -> String {
    let layers = graph.nodes.iter().filter_map(|node| node.layer).max();
    format!(
        "{}, {} layers",
        graph.architecture,
        layers.map_or(0, |last| last + 1)
    )
}

/// The template, tried on a message.
fn template(gguf: &Gguf) -> ondol_models::Result<String> {
    let template = ChatTemplate::from_gguf_or_fallback(gguf)?;
    template.render(&RenderInput::chat(&[Message::user("Hello")]))?;
    Ok(match template.origin() {
        TemplateOrigin::File => "from the file".to_owned(),
        TemplateOrigin::Guess(family) => {
            format!("none in the file; that of {family} is guessed from the vocabulary")
        }
        TemplateOrigin::Plain => {
            "none in the file; each turn begins with the speaker's name".to_owned()
        }
    })
}

/// The parts that have no fast kernel, each once.
fn slow(graph: &Graph, kernels: &Kernels) -> Vec<String> {
    let mut slow: Vec<String> = Vec::new();
    for node in &graph.nodes {
        let part = match node.op {
            Op::MatMul { weight, .. } | Op::Experts { weight, .. }
                if weight.dtype.block_len() > 1
                    && kernels.isa() != Isa::Exact
                    && kernels.act_kind(weight.dtype, PROMPT) == ActKind::F32 =>
            {
                format!(
                    "matmuls with weights in {}: the kernels of {} multiply them as floats",
                    weight.dtype.name(),
                    kernels.isa()
                )
            }
            Op::LinearAttention { .. } => {
                "linear attention in prompts: one token after another".to_owned()
            }
            _ => continue,
        };
        if !slow.contains(&part) {
            slow.push(part);
        }
    }
    slow
}
