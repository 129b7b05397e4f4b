//! `ondol tokenize MODEL [TEXT]`.

use crate::error::Result;
use crate::model::{self, Files};
use crate::{output, text};
use ondol_models::tokenizer::{EncodeOptions, Tokenizer};
use serde_json::json;

/// Arguments of `ondol tokenize`.
#[derive(clap::Args)]
#[command(after_help = "\
The file needs a vocabulary, but no weights.

Examples:
  ondol tokenize smollm2 \"Hello, world\"
  ondol tokenize vocab.gguf --ids \"안녕하세요\"
  ondol tokenize model.gguf --stdin --ids --no-special < text.txt")]
pub struct Args {
    /// A file, a name from the catalog, or `hello`
    model: String,
    /// The text
    #[arg(required_unless_present = "stdin", conflicts_with = "stdin")]
    text: Option<String>,
    /// Read the text from standard input: all bytes, without a byte order mark
    #[arg(long)]
    stdin: bool,
    /// Print the ids alone, with spaces between them
    #[arg(long, conflicts_with = "json")]
    ids: bool,
    /// Add no BOS or EOS, and treat special tokens in the text as plain text
    #[arg(long)]
    no_special: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the tokens of a text.
pub fn run(args: &Args) -> Result<()> {
    let text = match &args.text {
        Some(text) => text.clone(),
        None => text::read_stdin()?,
    };
    let files = Files::open(&args.model)?;
    let tokenizer = Tokenizer::from_gguf(&files.gguf()?).map_err(|source| files.error(source))?;
    model::tell_warnings(&args.model, tokenizer.warnings());
    print(args, &tokenizer, &text)
}

fn print(args: &Args, tokenizer: &Tokenizer, text: &str) -> Result<()> {
    let special = !args.no_special;
    let ids = tokenizer.encode(
        text,
        EncodeOptions {
            add_special: special,
            parse_special: special,
        },
    );
    let piece = |id: u32| {
        let mut bytes = Vec::new();
        tokenizer.piece(id, &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    if args.json {
        let pieces: Vec<String> = ids.iter().map(|&id| piece(id)).collect();
        return output::json(&json!({ "ids": ids, "pieces": pieces }));
    }
    if args.ids {
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        return output::line(ids.join(" "));
    }
    for id in ids {
        output::line(format!("{id:>8}  {:?}", piece(id)))?;
    }
    Ok(())
}
