use serde_json::json;

use super::super::TemplateOrigin;
use super::*;
use crate::gguf::Gguf;

fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A GGUF without tensors: text keys, token ids and a vocabulary.
fn gguf(texts: &[(&str, &str)], ids: &[(&str, u32)], vocabulary: &[&str]) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend(0_u64.to_le_bytes());
    out.extend((texts.len() as u64 + ids.len() as u64 + 1).to_le_bytes());
    for (key, text) in texts {
        push_text(&mut out, key);
        out.extend(8_u32.to_le_bytes());
        push_text(&mut out, text);
    }
    for (key, id) in ids {
        push_text(&mut out, key);
        out.extend(4_u32.to_le_bytes());
        out.extend(id.to_le_bytes());
    }
    push_text(&mut out, "tokenizer.ggml.tokens");
    out.extend(9_u32.to_le_bytes());
    out.extend(8_u32.to_le_bytes());
    out.extend((vocabulary.len() as u64).to_le_bytes());
    vocabulary
        .iter()
        .for_each(|token| push_text(&mut out, token));
    out
}

fn fallback(
    architecture: &str,
    vocabulary: &[&str],
    messages: &[Message],
) -> (TemplateOrigin, String) {
    let ids = [
        ("tokenizer.ggml.bos_token_id", 0),
        ("tokenizer.ggml.eos_token_id", 1),
    ];
    let bytes = gguf(&[("general.architecture", architecture)], &ids, vocabulary);
    let template = ChatTemplate::from_gguf_or_fallback(&Gguf::parse(&bytes).unwrap()).unwrap();
    (
        template.origin(),
        template.render(&RenderInput::chat(messages)).unwrap(),
    )
}

#[test]
fn the_files_template_and_tokens() {
    let texts = [
        (
            "tokenizer.chat_template",
            "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
        ),
        (
            "tokenizer.chat_template.tool_use",
            "tools {{ messages[0].content }}",
        ),
    ];
    let ids = [
        ("tokenizer.ggml.bos_token_id", 1),
        ("tokenizer.ggml.eos_token_id", 0),
    ];
    let bytes = gguf(&texts, &ids, &["</s>", "<s>", "<|im_start|>", "<|im_end|>"]);
    let template = ChatTemplate::from_gguf(&Gguf::parse(&bytes).unwrap())
        .unwrap()
        .unwrap();
    let messages = [Message::user("안녕")];
    let mut input = RenderInput::chat(&messages);
    assert_eq!(template.origin(), TemplateOrigin::File);
    assert_eq!(template.render(&input).unwrap(), "<s>안녕</s>");
    input.bos = Some("");
    assert_eq!(template.render(&input).unwrap(), "안녕</s>");
    let tools = [json!({"name": "f"})];
    input.tools = &tools;
    assert_eq!(template.render(&input).unwrap(), "tools 안녕");
}

#[test]
fn files_without_a_template() {
    let bytes = gguf(&[], &[], &["a"]);
    let template = ChatTemplate::from_gguf(&Gguf::parse(&bytes).unwrap()).unwrap();
    assert!(template.is_none());
}

/// The template does not report this fault, because the tokenizer warns of it.
#[test]
fn a_token_that_the_vocabulary_lacks_has_no_text() {
    let bytes = gguf(
        &[("tokenizer.chat_template", "x{{ bos_token }}x")],
        &[("tokenizer.ggml.bos_token_id", 9)],
        &["a"],
    );
    let template = ChatTemplate::from_gguf(&Gguf::parse(&bytes).unwrap()).unwrap();
    let text = template.unwrap().render(&RenderInput::chat(&[]));
    assert_eq!(text.unwrap(), "xx");
}

#[test]
fn fallbacks_by_vocabulary() {
    let messages = &conversation()[..4];
    let cases = [
        (
            "llama",
            &["<s>", "</s>", "<|im_start|>", "<|im_end|>"][..],
            "chatml",
            "<|im_start|>system\n짧게 답해 주세요.<|im_end|>\n<|im_start|>user\n온돌이 뭐예요?<|im_end|>\n\
              <|im_start|>assistant\n바닥 난방이에요. 🔥<|im_end|>\n<|im_start|>user\n고마워요!<|im_end|>\n\
              <|im_start|>assistant\n",
        ),
        (
            "llama",
            &["<s>", "</s>", "<|start_header_id|>", "<|eot_id|>"],
            "llama3",
            "<s><|start_header_id|>system<|end_header_id|>\n\n짧게 답해 주세요.<|eot_id|>\
              <|start_header_id|>user<|end_header_id|>\n\n온돌이 뭐예요?<|eot_id|>\
              <|start_header_id|>assistant<|end_header_id|>\n\n바닥 난방이에요. 🔥<|eot_id|>\
              <|start_header_id|>user<|end_header_id|>\n\n고마워요!<|eot_id|>\
              <|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            "gemma3",
            &["<s>", "</s>", "<start_of_turn>", "<end_of_turn>"],
            "gemma",
            "<s><start_of_turn>user\n짧게 답해 주세요.\n\n온돌이 뭐예요?<end_of_turn>\n\
              <start_of_turn>model\n바닥 난방이에요. 🔥<end_of_turn>\n<start_of_turn>user\n고마워요!<end_of_turn>\n\
              <start_of_turn>model\n",
        ),
        (
            "exaone",
            &["<s>", "</s>", "[|user|]", "[|endofturn|]"],
            "exaone",
            "[|system|]짧게 답해 주세요.[|endofturn|]\n[|user|]온돌이 뭐예요?\n\
              [|assistant|]바닥 난방이에요. 🔥[|endofturn|]\n[|user|]고마워요!\n[|assistant|]",
        ),
        (
            "exaone4",
            &["<s>", "</s>", "[|user|]", "[|endofturn|]"],
            "exaone4",
            "[|system|]\n짧게 답해 주세요.[|endofturn|]\n[|user|]\n온돌이 뭐예요?[|endofturn|]\n\
              [|assistant|]\n바닥 난방이에요. 🔥[|endofturn|]\n[|user|]\n고마워요![|endofturn|]\n[|assistant|]\n",
        ),
        (
            "phi3",
            &["<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"],
            "phi3",
            "<|system|>\n짧게 답해 주세요.<|end|>\n<|user|>\n온돌이 뭐예요?<|end|>\n\
              <|assistant|>\n바닥 난방이에요. 🔥<|end|>\n<|user|>\n고마워요!<|end|>\n<|assistant|>\n",
        ),
        (
            "llama",
            &["<s>", "</s>", "[INST]", "[/INST]"],
            "mistral",
            "<s>[INST] 짧게 답해 주세요.\n\n온돌이 뭐예요?[/INST] 바닥 난방이에요. 🔥</s>[INST] 고마워요![/INST]",
        ),
    ];
    for (architecture, vocabulary, family, expected) in cases {
        let (origin, text) = fallback(architecture, vocabulary, messages);
        assert_eq!(origin, TemplateOrigin::Guess(family));
        assert_eq!(text, expected, "{family}");
    }
}

#[test]
fn base_models_get_the_plain_format() {
    let vocabulary = ["<s>", "</s>", "<|user|>"];
    let (origin, text) = fallback("llama", &vocabulary, &[Message::user("옛날 옛적에")]);
    assert_eq!(
        (origin, text.as_str()),
        (TemplateOrigin::Plain, "옛날 옛적에")
    );
    let (_, text) = fallback("llama", &vocabulary, &conversation());
    assert_eq!(
        text,
        "짧게 답해 주세요.\n\nUser: 온돌이 뭐예요?\nAssistant: 바닥 난방이에요. 🔥\nUser: 고마워요!\nAssistant:"
    );
}

#[test]
fn a_template_without_a_word_is_none() {
    for blank in ["", " \n\t", "\u{3000}"] {
        let vocabulary = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"];
        let bytes = gguf(&[("tokenizer.chat_template", blank)], &[], &vocabulary);
        let gguf = Gguf::parse(&bytes).unwrap();
        assert!(ChatTemplate::from_gguf(&gguf).unwrap().is_none());
        let template = ChatTemplate::from_gguf_or_fallback(&gguf).unwrap();
        assert_eq!(template.origin(), TemplateOrigin::Guess("chatml"));
    }
}

#[test]
fn named_templates() {
    let tool_use = (
        "tokenizer.chat_template.tool_use",
        "tools {{ messages[0].content }}",
    );
    let default = (
        "tokenizer.chat_template.default",
        "{{ messages[0].content }}",
    );
    let blank = ("tokenizer.chat_template", " ");
    let messages = [Message::user("안녕")];
    let tools = [json!({"name": "f"})];
    let with_tools = RenderInput {
        tools: &tools,
        ..RenderInput::chat(&messages)
    };
    let bytes = gguf(&[tool_use, default, blank], &[], &["a"]);
    let template = ChatTemplate::from_gguf_or_fallback(&Gguf::parse(&bytes).unwrap()).unwrap();
    assert_eq!(template.origin(), TemplateOrigin::File);
    assert_eq!(template.source(), default.1);
    assert_eq!(template.render(&with_tools).unwrap(), "tools 안녕");

    // The file has only the template for tools: without tools the format is a guess.
    let bytes = gguf(&[tool_use], &[], &["a"]);
    let template = ChatTemplate::from_gguf_or_fallback(&Gguf::parse(&bytes).unwrap()).unwrap();
    assert_eq!(template.origin(), TemplateOrigin::Plain);
    let input = RenderInput::chat(&messages);
    assert_eq!(template.render(&input).unwrap(), "안녕");
    assert_eq!(template.render(&with_tools).unwrap(), "tools 안녕");
}
