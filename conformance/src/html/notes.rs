//! The notes of gates and the forms of weights in Korean. Levels and plug-ins write them
//! in English; what is not listed here, such as an error message, stays as it was written.

/// Whole notes.
const NOTES: &[(&str, &str)] = &[
    ("told, not judged", "참고값이며 판정하지 않음"),
    ("slower than the CPU", "CPU보다 느림"),
    ("the system does not tell", "운영체제가 알려 주지 않음"),
    (
        "the device tells no energy",
        "장치가 에너지를 알려 주지 않음",
    ),
    (
        "the device tells no temperature",
        "장치가 온도를 알려 주지 않음",
    ),
    (
        "by the device's own meter, without the host",
        "장치 자체 계측값이며 호스트는 포함하지 않음",
    ),
    (
        "the device takes none of the shapes in this form",
        "장치가 이 형식의 어떤 형태도 맡지 않음",
    ),
    ("nothing of it is claimed", "장치가 맡은 부분이 없음"),
    (
        "the device has no programs of one row: the CPU decodes",
        "한 행짜리 프로그램이 없어 CPU가 디코드함",
    ),
    (
        "the plug-in makes no faults on request (`inject`)",
        "플러그인이 요청에 따른 결함(`inject`)을 지원하지 않음",
    ),
    (
        "the plug-in runs in the host's process, and a crash ends it",
        "플러그인이 호스트 프로세스 안에서 실행되어 중단되면 호스트도 끝남",
    ),
    ("no failure was seen", "장애가 감지되지 않음"),
];

/// Beginnings of notes that go on with a name, a number or an error message.
const BEGINNINGS: &[(&str, &str)] = &[
    ("waived: ", "면제 사유: "),
    ("can't be waived. ", "면제할 수 없는 항목임. "),
    ("the plug-in does not make it: ", "플러그인이 만들지 못함: "),
    ("passed in spite of it: ", "그럼에도 통과한 항목: "),
];

/// Words of forms of weights and of arithmetics.
const FORMS: &[(&str, &str)] = &[
    (" in groups of ", ", 묶음 크기 "),
    (" by rows", ", 행 단위"),
    (", scales ", ", 스케일 "),
    ("a scale for a row", "행마다 스케일 하나"),
    ("a scale for ", "스케일 하나당 숫자 개수 "),
    (" numbers, ", ", "),
    ("sums of ", "누산 비트 수 "),
    (" bits, rounded to the ", ", 반올림 "),
    ("nearest even", "가장 가까운 짝수로"),
    (
        "nearest away from zero",
        "가장 가까운 값으로(중간은 0에서 먼 쪽)",
    ),
    ("one toward zero", "0 쪽으로"),
];

/// A note of a gate.
pub fn note(english: &str) -> String {
    let whole = NOTES.iter().find(|(en, _)| *en == english);
    if let Some((_, ko)) = whole {
        return (*ko).to_owned();
    }
    if let Some(tokens) = english.strip_suffix(" tokens").filter(|n| is_number(n)) {
        return format!("토큰 {tokens}개");
    }
    let begun = |&(en, ko): &(&str, &str)| {
        let rest = english.strip_prefix(en)?;
        Some(format!("{ko}{}", note(rest)))
    };
    BEGINNINGS
        .iter()
        .find_map(begun)
        .unwrap_or_else(|| english.to_owned())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// A form of weights, or an arithmetic.
pub fn form(english: &str) -> String {
    let translate = |text: String, (en, ko): &(&str, &str)| text.replace(en, ko);
    FORMS.iter().fold(english.to_owned(), translate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_korean_as_far_as_they_are_known() {
        assert_eq!(note("slower than the CPU"), "CPU보다 느림");
        assert_eq!(note("96 tokens"), "토큰 96개");
        assert_eq!(
            note("waived: no tanh. told, not judged"),
            "면제 사유: no tanh. told, not judged"
        );
        assert_eq!(
            note("can't be waived. slower than the CPU"),
            "면제할 수 없는 항목임. CPU보다 느림"
        );
        assert_eq!(note("error 7"), "error 7");
    }

    #[test]
    fn forms_are_korean() {
        assert_eq!(
            form("i8 in groups of 32, scales f16"),
            "i8, 묶음 크기 32, 스케일 f16"
        );
        assert_eq!(
            form("a scale for 32 numbers, sums of 32 bits, rounded to the nearest even"),
            "스케일 하나당 숫자 개수 32, 누산 비트 수 32, 반올림 가장 가까운 짝수로"
        );
    }
}
