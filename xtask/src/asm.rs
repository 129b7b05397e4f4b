//! Finds the loops in a program's assembly, for 64-bit Arm.

/// An innermost loop.
pub struct Loop {
    pub instructions: Vec<String>,
}

impl Loop {
    /// Integer products in one iteration.
    pub fn products(&self) -> u32 {
        self.instructions.iter().map(|line| products(line)).sum()
    }

    /// Loads and stores of vectors that do not fit in the registers (spills).
    pub fn spills(&self) -> usize {
        let spill = |line: &&String| {
            let operands = line.split_whitespace().nth(1).unwrap_or("");
            operands.starts_with(['q', 'd']) && line.contains("[sp")
        };
        self.instructions.iter().filter(spill).count()
    }

    /// Whether it accumulates floats: it then processes a whole block of weights, not a
    /// part of one.
    pub fn is_whole(&self) -> bool {
        let mut lines = self.instructions.iter();
        lines.any(|line| line.starts_with("fmla"))
    }

    /// Its multiplications with independent registers, so that none waits for another instruction.
    pub fn products_alone(&self) -> Vec<String> {
        let all = self.instructions.iter().filter(|line| products(line) > 0);
        let alone = all.enumerate().map(|(i, line)| {
            let (mnemonic, operands) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let shapes = operands.split(',').map(|operand| {
                let operand = operand.trim();
                &operand[operand.find('.').unwrap_or(operand.len())..]
            });
            let registers = [i % 14, 14, 15];
            let operands = registers
                .iter()
                .zip(shapes)
                .map(|(r, shape)| format!("v{r}{shape}"));
            format!("{mnemonic} {}", operands.collect::<Vec<_>>().join(", "))
        });
        alone.collect()
    }
}

/// The number of integer products that an instruction computes.
fn products(line: &str) -> u32 {
    let mut words = line.split_whitespace();
    let (mnemonic, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    match mnemonic {
        "smmla" => 32,
        "sdot" => 16,
        "smull" | "smull2" | "smlal" | "smlal2" if target.contains(".8h") => 8,
        "smull" | "smull2" | "smlal" | "smlal2" => 4,
        _ => 0,
    }
}

/// The innermost loops of all functions whose mangled names satisfy the condition.
pub fn loops_of(asm: &str, wanted: impl Fn(&str) -> bool) -> Vec<Loop> {
    let mut loops = Vec::new();
    let mut function: Option<Vec<&str>> = None;
    for line in asm.lines() {
        let label = line
            .strip_suffix(':')
            .filter(|label| !label.starts_with([' ', '\t', '.']));
        if let Some(name) = label {
            function = wanted(name).then(Vec::new);
        } else if line.trim_start().starts_with(".cfi_endproc") {
            loops.extend(
                function
                    .take()
                    .map(|lines| innermost(&lines))
                    .unwrap_or_default(),
            );
        } else if let Some(lines) = &mut function {
            lines.push(line);
        }
    }
    loops
}

/// The innermost loops of a function: from a label to the jump back to it, without
/// another backward jump between them.
fn innermost(lines: &[&str]) -> Vec<Loop> {
    let place = |label: &str| {
        lines
            .iter()
            .position(|line| line.strip_suffix(':') == Some(label))
    };
    let mut loops = Vec::new();
    let mut last_start = None;
    for (end, line) in lines.iter().enumerate() {
        let target = line
            .split_whitespace()
            .last()
            .filter(|word| word.starts_with(".LBB"));
        let Some(start) = target.and_then(place).filter(|&start| start < end) else {
            continue;
        };
        // An outer loop begins no later than the inner loop that was found last.
        if last_start.is_none_or(|last| start > last) {
            last_start = Some(start);
            let body = lines[start..=end].iter();
            let instructions = body.filter_map(|line| instruction(line)).collect();
            loops.push(Loop { instructions });
        }
    }
    loops
}

/// The instruction on a line, if there is one.
fn instruction(line: &str) -> Option<String> {
    let code = line.split("//").next().unwrap_or("");
    let starts_one = code.starts_with('\t') && !code.trim_start().starts_with('.');
    (starts_one && !code.trim().is_empty()).then(|| code.trim().to_owned())
}
