//! Templates for files that have none, chosen by the control tokens in the vocabulary.
//! Each writes the same format as the family's own template for plain conversations.
//! They do not support tools.

use super::TemplateOrigin;
use crate::Result;
use crate::gguf::Gguf;

/// A format, and the control tokens by which it is recognized.
struct Family {
    name: &'static str,
    tokens: &'static [&'static str],
    template: &'static str,
}

const FAMILIES: [Family; 6] = [
    Family {
        name: "chatml",
        tokens: &["<|im_start|>", "<|im_end|>"],
        template: CHATML,
    },
    Family {
        name: "llama3",
        tokens: &["<|start_header_id|>", "<|eot_id|>"],
        template: LLAMA3,
    },
    Family {
        name: "gemma",
        tokens: &["<start_of_turn>", "<end_of_turn>"],
        template: GEMMA,
    },
    Family {
        name: "exaone",
        tokens: &["[|user|]", "[|endofturn|]"],
        template: EXAONE,
    },
    Family {
        name: "phi3",
        tokens: &["<|user|>", "<|assistant|>", "<|end|>"],
        template: PHI3,
    },
    Family {
        name: "mistral",
        tokens: &["[INST]", "[/INST]"],
        template: MISTRAL,
    },
];

const CHATML: &str = "\
{% for message in messages %}
{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const LLAMA3: &str = "\
{{ bos_token }}
{%- for message in messages %}
{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content|trim + '<|eot_id|>' }}
{%- endfor %}
{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}";

/// Gemma has no system role: its instructions open the first user turn.
const GEMMA: &str = "\
{{ bos_token }}
{%- set ns = namespace(system='') %}
{%- for message in messages %}
{% if message.role == 'system' %}
{% set ns.system = message.content|trim + '\\n\\n' %}
{% else %}
{{ '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' }}
{{- ns.system + message.content|trim + '<end_of_turn>\\n' }}
{%- set ns.system = '' %}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}";

const EXAONE: &str = "\
{% for message in messages %}
{{ '[|' + message.role + '|]' + message.content }}
{{- '\\n' if message.role == 'user' else '[|endofturn|]\\n' }}
{%- endfor %}
{% if add_generation_prompt %}{{ '[|assistant|]' }}{% endif %}";

const EXAONE4: &str = "\
{% for message in messages %}
{{ '[|' + message.role + '|]\\n' + message.content + '[|endofturn|]\\n' }}
{%- endfor %}
{% if add_generation_prompt %}{{ '[|assistant|]\\n' }}{% endif %}";

const PHI3: &str = "\
{% for message in messages %}
{{ '<|' + message.role + '|>\\n' + message.content + '<|end|>\\n' }}
{%- endfor %}
{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}";

/// Instructions go before the first request, as in Mistral 7B v0.3.
const MISTRAL: &str = "\
{{ bos_token }}
{%- set ns = namespace(system='') %}
{%- for message in messages %}
{% if message.role == 'system' %}
{% set ns.system = message.content + '\\n\\n' %}
{% elif message.role == 'user' %}
{{ '[INST] ' + ns.system + message.content + '[/INST]' }}
{%- set ns.system = '' %}
{% else %}
{{ ' ' + message.content + eos_token }}
{%- endif %}
{% endfor %}";

const PLAIN: &str = "\
{% if messages|length == 1 and messages[0].role == 'user' %}
{{ messages[0].content }}
{%- else %}
{% for message in messages %}
{% if message.role == 'system' %}
{{ message.content + '\\n\\n' }}
{%- else %}
{{ message.role|capitalize + ': ' + message.content|trim + '\\n' }}
{%- endif %}
{% endfor %}
{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}
{% endif %}";

/// The template that fits the vocabulary of `gguf`, as
/// [`super::ChatTemplate::from_gguf_or_fallback`] documents.
pub(super) fn guess(gguf: &Gguf) -> Result<(TemplateOrigin, &'static str)> {
    let Some(vocabulary) = gguf.opt_array("tokenizer.ggml.tokens")? else {
        return Ok((TemplateOrigin::Plain, PLAIN));
    };
    let has = |token: &str| vocabulary.texts().any(|text| text == token.as_bytes());
    let Some(family) = FAMILIES
        .iter()
        .find(|family| family.tokens.iter().all(|token| has(token)))
    else {
        return Ok((TemplateOrigin::Plain, PLAIN));
    };
    if family.name == "exaone" && gguf.opt_str("general.architecture")? == Some("exaone4") {
        return Ok((TemplateOrigin::Guess("exaone4"), EXAONE4));
    }
    Ok((TemplateOrigin::Guess(family.name), family.template))
}
