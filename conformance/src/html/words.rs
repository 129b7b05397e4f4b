//! The fixed texts of the page, in English and Korean.

use super::text::Pair;
use crate::report::{Gate, Level, Name, Verdict};

/// The label of real devices.
pub const HARDWARE: &str = "hardware";

/// The outcome of a gate, a level, or the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Within the limits.
    Pass,
    /// Beyond a limit.
    Fail,
    /// Beyond a limit, and waived.
    Waived,
    /// Not failed, but not all that a verification needs.
    Partial,
    /// Not decided.
    NotMeasured,
    /// Measured, without a limit.
    Informational,
}

impl Outcome {
    /// In the order of the summary's columns.
    pub const ALL: [Outcome; 6] = [
        Outcome::Pass,
        Outcome::Fail,
        Outcome::Waived,
        Outcome::Partial,
        Outcome::NotMeasured,
        Outcome::Informational,
    ];

    /// The outcome in a word or two.
    pub fn words(self) -> Pair<'static> {
        match self {
            Outcome::Pass => ("Passed", "통과"),
            Outcome::Fail => ("Failed", "불합격"),
            Outcome::Waived => ("Waived", "면제"),
            Outcome::Partial => ("Partial", "부분 충족"),
            Outcome::NotMeasured => ("Not measured", "미측정"),
            Outcome::Informational => ("For information", "참고값"),
        }
    }

    /// The outcome of the whole report, as a sentence.
    pub fn sentence(self) -> Pair<'static> {
        match self {
            Outcome::Pass => (
                "No gate failed that was not waived.",
                "면제된 항목을 제외하고 불합격 항목이 없습니다.",
            ),
            Outcome::Fail => (
                "The conformance test is not passed.",
                "적합성 시험을 통과하지 못했습니다.",
            ),
            Outcome::Waived => (
                "No gate passed; what failed was waived.",
                "통과한 항목이 없으며, 기준을 벗어난 항목은 면제되었습니다.",
            ),
            Outcome::Partial => (
                "No gate failed, but this is not all of a verification.",
                "불합격 항목은 없으나, 적합성 시험 전체를 충족하지는 않습니다.",
            ),
            Outcome::NotMeasured | Outcome::Informational => (
                "No gate was decided: this is not a pass.",
                "판정된 항목이 없으므로 통과로 볼 수 없습니다.",
            ),
        }
    }

    /// A sign that distinguishes the outcome on a page in black and white.
    pub fn sign(self) -> char {
        match self {
            Outcome::Pass => '✓',
            Outcome::Fail => '✗',
            Outcome::Waived => '△',
            Outcome::Partial => '◐',
            Outcome::NotMeasured => '–',
            Outcome::Informational => '○',
        }
    }

    /// The outcome's class in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Waived | Outcome::Partial => "waived",
            Outcome::NotMeasured | Outcome::Informational => "open",
        }
    }
}

/// The outcome of one gate.
pub fn outcome(gate: &Gate) -> Outcome {
    match gate.verdict {
        Verdict::Pass => Outcome::Pass,
        Verdict::Fail => Outcome::Fail,
        Verdict::Waived => Outcome::Waived,
        Verdict::Partial => Outcome::Partial,
        Verdict::NotMeasured if gate.found.is_some() && gate.limit.is_none() => {
            Outcome::Informational
        }
        Verdict::NotMeasured => Outcome::NotMeasured,
    }
}

/// The outcome of several gates: without a decided gate it is not a pass.
pub fn conclusion<'g>(gates: impl IntoIterator<Item = &'g Gate>) -> Outcome {
    let outcomes: Vec<Outcome> = gates.into_iter().map(outcome).collect();
    [
        Outcome::Fail,
        Outcome::Partial,
        Outcome::Pass,
        Outcome::Waived,
        Outcome::NotMeasured,
        Outcome::Informational,
    ]
    .into_iter()
    .find(|outcome| outcomes.contains(outcome))
    .unwrap_or(Outcome::NotMeasured)
}

/// The number of gates of a level with this outcome.
pub fn count_of(level: &Level, wanted: Outcome) -> usize {
    let gates = level.gates.iter();
    gates.filter(|gate| outcome(gate) == wanted).count()
}

/// The label of a device; an unknown label is shown unchanged.
pub fn label(label: &str) -> Pair<'_> {
    match label {
        HARDWARE => ("Hardware", "하드웨어"),
        "emulator" => ("Emulator", "에뮬레이터"),
        "contract stub" => ("Contract stub", "계약 모의 장치(contract stub)"),
        "" => ("Not stated", "명시되지 않음"),
        other => (other, other),
    }
}

/// A level's name.
pub fn level(name: Name) -> Pair<'static> {
    match name {
        Name::Abi => ("Plug-in contract (ABI)", "플러그인 규약(ABI)"),
        Name::Op => ("Single operations", "단위 연산"),
        Name::Model => ("Parts of the model", "모델 구간"),
        Name::EndToEnd => ("Whole answers (end to end)", "전체 응답(종단 간)"),
        Name::Determinism => ("Determinism", "결정성(재현성)"),
        Name::Soak => ("Thousands of calls", "장시간 반복"),
        Name::Performance => ("Time and memory", "시간·메모리"),
        Name::Energy => ("Energy and heat", "에너지·발열"),
        Name::Faults => ("Faults", "장애 대응"),
    }
}

/// What a level checks.
pub fn meaning(name: Name) -> Pair<'static> {
    match name {
        Name::Abi => (
            "The plug-in's table of functions, the life cycles of its objects and its reaction \
             to wrong calls. A plug-in that fails here can bring down the program that loads it.",
            "플러그인의 함수 표, 객체의 생성과 해제, 잘못된 호출에 대한 반응을 검사합니다. 이 \
             단계에서 불합격한 플러그인은 이를 불러온 프로그램을 중단시킬 수 있습니다.",
        ),
        Name::Op => (
            "Single operations on the device against exact sums on the same weights. The error \
             may be four times what the declared arithmetic explains. Shows that the device \
             computes rightly before a model relies on it.",
            "장치에서 실행한 개별 연산을 같은 가중치로 정확히 계산한 결과와 비교합니다. 오차는 \
             장치가 밝힌 연산 방식으로 설명되는 오차의 네 배까지 허용합니다. 모델에 사용하기에 \
             앞서 연산 하나하나가 정확한지를 보여 줍니다.",
        ),
        Name::Model => (
            "The parts of this model that run on the device, one by one and one after the \
             other. Shows whether errors stay small or grow from layer to layer.",
            "장치가 맡은 모델 구간을 하나씩, 그리고 차례로 이어서 실행합니다. 오차가 작게 \
             유지되는지, 층을 지나며 커지는지를 보여 줍니다.",
        ),
        Name::EndToEnd => (
            "Texts in Korean and English, token by token, in prefill and in decode, against \
             exact sums on the weights that were handed over. Shows that the whole model \
             computes rightly on the device; what those weights lose is told apart.",
            "한국어와 영어 글을 프리필과 디코드로 토큰마다 처리하여, 장치에 넘긴 가중치로 \
             정확히 계산한 결과와 비교합니다. 모델 전체가 장치에서 올바르게 계산되는지를 보여 \
             주며, 가중치 형식으로 인한 손실은 따로 표시합니다.",
        ),
        Name::Determinism => (
            "The same work again. Shows whether the device gives the same results each time, \
             without which no other result here can be repeated.",
            "같은 작업을 반복합니다. 장치가 매번 같은 결과를 내는지를 보여 주며, 이것이 \
             확인되어야 다른 결과도 재현할 수 있습니다.",
        ),
        Name::Soak => (
            "Thousands of calls on one handle, two programs at once. Shows that the results \
             stay the same bits and that no memory is lost.",
            "하나의 핸들에서 두 프로그램을 동시에 수천 회 호출합니다. 결과가 비트까지 같게 \
             유지되는지, 메모리가 새지 않는지를 보여 줍니다.",
        ),
        Name::Performance => (
            "How much time and memory the work takes with the device. These are a product's \
             figures only where the device is hardware.",
            "장치를 사용할 때 걸리는 시간과 메모리 사용량입니다. 장치가 하드웨어인 경우에만 \
             제품의 수치로 볼 수 있습니다.",
        ),
        Name::Energy => (
            "How much energy the work takes and how hot the device becomes. These are a \
             product's figures only where the device is hardware.",
            "작업에 드는 에너지와 장치의 발열입니다. 장치가 하드웨어인 경우에만 제품의 수치로 \
             볼 수 있습니다.",
        ),
        Name::Faults => (
            "What happens when the device fails. Shows whether a failure is noticed and whether \
             the program survives it.",
            "장치에 장애가 생겼을 때의 동작을 검사합니다. 장애를 감지하는지, 프로그램이 중단 \
             없이 계속되는지를 보여 줍니다.",
        ),
    }
}
