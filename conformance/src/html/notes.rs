//! The notes of gates, errors of delegates, reasons and forms of weights in Korean. Levels,
//! the runtime and plug-ins write them in English; what is not listed here, such as a
//! plug-in's own message, stays as it was written.

/// Notes. `{}` stands for a name, a number, or another note; it stands in Korean in the order
/// of English, and no two stand side by side.
const NOTES: &[(&str, &str)] = &[
    // Of any level.
    ("for information, not judged", "참고값이며 판정하지 않음"),
    ("waived: {}. {}", "면제 사유: {}. {}"),
    ("can't be waived. {}", "면제할 수 없는 항목임. {}"),
    ("the system doesn't report it", "운영체제가 알려 주지 않음"),
    ("nothing of it is claimed", "장치가 맡은 부분이 없음"),
    ("a thread panicked", "스레드가 비정상 종료됨"),
    ("no thread could be made: {}", "스레드를 만들 수 없음: {}"),
    (
        "no second thread could be made: {}",
        "두 번째 스레드를 만들 수 없음: {}",
    ),
    (
        "the reference part can't compute in the declared arithmetic",
        "기준 장치가 장치가 밝힌 연산 방식으로 계산할 수 없음",
    ),
    // A process that ended.
    ("it ended without a report: {}", "보고서 없이 종료됨: {}"),
    ("it did not start: {}", "시작되지 않음: {}"),
    ("it was killed after {} s", "{}초 뒤 강제 종료됨"),
    ("its output was lost", "출력이 유실됨"),
    ("its output can't be read: {}", "출력을 읽을 수 없음: {}"),
    ("its report has no such level", "보고서에 해당 단계가 없음"),
    // Level abi.
    (
        "it gave a table for version {}",
        "버전 {}의 함수 표를 돌려줌",
    ),
    ("it refused a host of version {}", "버전 {} 호스트를 거부함"),
    ("no table", "함수 표가 없음"),
    (
        "an entry of the table is missing",
        "함수 표에 빠진 항목이 있음",
    ),
    ("it opened the device {}", "없는 장치 {}번을 열어 줌"),
    (
        "it compiled a node that reads tensor {}",
        "텐서 {}번을 읽는 잘못된 노드를 컴파일함",
    ),
    (
        "it took a program with a flipped bit in byte {}",
        "{}번째 바이트의 비트가 반전된 프로그램을 받아들임",
    ),
    (
        "it took the first {} bytes of a program",
        "앞 {}바이트만 남은 프로그램을 받아들임",
    ),
    ("the results differ", "결과가 서로 다름"),
    // Levels op and model. A place: `row 3, a program of 128 rows, 64 x 96`.
    (
        "the device takes none of the shapes in this form",
        "장치가 이 형식의 어떤 형태도 맡지 않음",
    ),
    (
        "row {} of {} in a program of {} rows differs",
        "{}행(전체 {}행, {}행짜리 프로그램)의 결과가 다름",
    ),
    (
        "{}: row {} depends on the rows from {} on",
        "{}: {}행의 결과가 {}행 이후의 값에 따라 달라짐",
    ),
    ("{} in row {}, column {}, {}", "{}: {}행 {}열, {}"),
    ("row {}, {}", "{}행, {}"),
    ("output {}, {}", "출력 {}번, {}"),
    (
        "a program of {} rows, {} x {}",
        "{}행 프로그램, 가중치 {} x {}",
    ),
    ("a program of {} rows", "{}행 프로그램"),
    ("the device refuses it: {}", "장치가 맡지 않음: {}"),
    // Levels end-to-end and soak.
    ("tokens: {}", "토큰 {}개"),
    (
        "the device takes no matmul of {} and {} columns",
        "장치가 {}열·{}열 행렬곱을 맡지 않음",
    ),
    (
        "call {} gave other bits than the first",
        "{}번째 호출의 결과가 첫 호출과 비트까지 같지 않음",
    ),
    ("call {}: {}", "{}번째 호출: {}"),
    (
        "the device doesn't report its free memory",
        "장치가 남은 메모리를 알려 주지 않음",
    ),
    // Levels performance and energy.
    ("slower than the CPU", "CPU보다 느림"),
    (
        "a device of the kind `{}`: its times don't measure performance",
        "`{}` 장치의 시간은 성능으로 볼 수 없음",
    ),
    (
        "a device of the kind `{}` has no meter of its own",
        "`{}` 장치에는 자체 계측기가 없음",
    ),
    (
        "it says that it is hardware, and its process holds no device",
        "하드웨어라고 밝혔으나 프로세스가 열어 둔 장치가 없음",
    ),
    (
        "the device has no programs of one row: the CPU decodes",
        "한 행짜리 프로그램이 없어 CPU가 디코드함",
    ),
    (
        "the device doesn't report energy",
        "장치가 에너지를 알려 주지 않음",
    ),
    (
        "the device doesn't report temperature",
        "장치가 온도를 알려 주지 않음",
    ),
    (
        "by the device's own meter, without the host",
        "장치 자체 계측값이며 호스트는 포함하지 않음",
    ),
    (
        "all {} readings are {} thousandths of a degree",
        "측정값 {}개가 모두 {}(0.001 °C 단위)임",
    ),
    // An outside meter.
    (
        "the meter's log has no column of {}; its first line must name `time` and `watts`",
        "계측 기록에 {} 열이 없음. 첫 줄에 `time`과 `watts`가 있어야 함",
    ),
    (
        "line {} of the meter's log is not a reading: {}",
        "계측 기록 {}번째 줄이 측정값이 아님: {}",
    ),
    (
        "line {} of the meter's log is earlier than the line before it",
        "계측 기록 {}번째 줄의 시각이 앞줄보다 이름",
    ),
    (
        "the meter's log covers {} to {} (seconds since 1970), the run lasted from {} to {}: check \
         the meter's clock",
        "계측 기록은 {}~{}(1970년 이후 초)이고 시험은 {}~{}임. 계측기의 시계를 확인할 것",
    ),
    (
        "the meter's log has no reading for {} s from {} on, during the run",
        "시험 중 계측 기록이 {}초 동안 비어 있음(시작 {})",
    ),
    (
        "{} readings in {} s of work; at least {} are needed: measure more runs",
        "측정값 {}개({}초 작업). 최소 {}개가 필요하므로 더 오래 측정할 것",
    ),
    (
        "the machine drew less at work than idle ({} W)",
        "작업 중 전력이 유휴 전력({} W)보다 낮음",
    ),
    // Level faults.
    (
        "the plug-in can't inject faults",
        "플러그인이 요청에 따른 결함을 만들 수 없음",
    ),
    (
        "the plug-in does not make it: {}",
        "플러그인이 만들지 못함: {}",
    ),
    (
        "the plug-in runs in the host's process, and a crash ends it",
        "플러그인이 호스트 프로세스 안에서 실행되어 중단되면 호스트도 끝남",
    ),
    ("no failure was seen", "장애가 감지되지 않음"),
    ("not seen as `{}`: {}", "`{}`(으)로 감지되지 않음: {}"),
    ("passed in spite of it: {}", "그럼에도 통과한 항목: {}"),
    (
        "the device was not seen as lost",
        "장치 유실로 감지되지 않음",
    ),
    ("the reset failed", "재설정 실패"),
    ("{} failures after it", "재설정 후 실패 {}회"),
    ("the plug-in has no reset", "플러그인에 재설정 기능이 없음"),
    ("the answer is {} nats off", "답이 {} nats 벗어남"),
    (
        "{} of {} programs were taken from the folder",
        "폴더에서 가져온 프로그램: {}개(전체 {}개)",
    ),
    ("{}: no program was kept", "{}: 저장된 프로그램이 없음"),
    ("another error: {}", "다른 오류: {}"),
    ("no error", "오류가 나지 않음"),
    // Why a part of the model stays on the CPU.
    ("the contract has no embedding", "계약에 임베딩 연산이 없음"),
    (
        "the contract has no rotation",
        "계약에 회전(RoPE) 연산이 없음",
    ),
    (
        "the contract has no attention and no cache",
        "계약에 어텐션 연산과 캐시가 없음",
    ),
    (
        "the contract has no convolution",
        "계약에 합성곱 연산이 없음",
    ),
    (
        "the contract has no experts",
        "계약에 전문가(MoE) 연산이 없음",
    ),
    (
        "the contract has no choice or joining of columns",
        "계약에 열 선택과 결합 연산이 없음",
    ),
    (
        "the contract has no linear attention",
        "계약에 선형 어텐션 연산이 없음",
    ),
    (
        "the contract has no such function",
        "계약에 해당 함수가 없음",
    ),
    (
        "part of the head, which runs only for rows whose logits are wanted",
        "로짓이 필요한 행에서만 실행되는 출력부임",
    ),
    (
        "no matmul beside it that the device takes",
        "장치가 맡는 행렬곱과 이어져 있지 않음",
    ),
    (
        "no form that the device takes fits rows of {}",
        "장치가 지원하는 가중치 형식 가운데 {}열에 맞는 것이 없음",
    ),
    ("no reason given", "사유를 밝히지 않음"),
    // What the host says of a delegate.
    (
        "the device takes no part of this model: {}",
        "장치가 이 모델의 어떤 부분도 맡지 않음: {}",
    ),
    ("no matmul", "행렬곱이 없음"),
    (
        "the job was not done by its deadline",
        "작업이 기한 안에 끝나지 않음",
    ),
    ("an earlier job still runs", "앞선 작업이 아직 실행 중임"),
    (
        "outputs of {} are not finite",
        "{}의 출력에 유한하지 않은 값이 있음",
    ),
    (
        "a row of {} differs from the CPU's by {} (squared, relative); the limit is {}",
        "{}의 한 행이 CPU와 {}만큼 다름(상대 제곱오차, 기준 {})",
    ),
    ("the plug-in finds no device", "플러그인이 장치를 찾지 못함"),
    (
        "the plug-in does not support version {} of the ABI",
        "플러그인이 규약 버전 {}을 지원하지 않음",
    ),
    (
        "the plug-in's table has version {} of the ABI",
        "플러그인 함수 표의 규약 버전이 {}임",
    ),
    (
        "the plug-in's table has no `{}`",
        "플러그인 함수 표에 `{}`이(가) 없음",
    ),
    (
        "the plug-in reported success, but returned no handle",
        "플러그인이 성공을 알렸으나 핸들을 돌려주지 않음",
    ),
    (
        "the device's programs have at least {} rows, but at most {} are allowed",
        "장치 프로그램은 최소 {}행인데 최대 {}행까지 허용됨",
    ),
    (
        "the plug-in wrote {} of output {}",
        "플러그인이 출력의 {}에 값을 씀(출력 {}번)",
    ),
    (
        "{} did not return within {} s; the plug-in's process was killed",
        "{} 호출이 {}초 안에 끝나지 않아 플러그인 프로세스를 강제 종료함",
    ),
    (
        "{}: the plug-in's process ended: {}",
        "{}: 플러그인 프로세스가 종료됨: {}",
    ),
    // Errors: the request, the kind, the message.
    ("loading the plug-in: {}", "플러그인 불러오기: {}"),
    ("opening the device: {}", "장치 열기: {}"),
    (
        "asking what the device takes: {}",
        "장치가 맡을 연산 확인: {}",
    ),
    ("compiling: {}", "컴파일: {}"),
    ("saving a program: {}", "프로그램 저장: {}"),
    ("loading a program: {}", "프로그램 불러오기: {}"),
    ("making a session: {}", "세션 생성: {}"),
    ("starting a job: {}", "작업 시작: {}"),
    ("waiting for a job: {}", "작업 대기: {}"),
    ("checking the output: {}", "출력 확인: {}"),
    ("asking for a fault: {}", "결함 요청: {}"),
    ("invalid: {}", "잘못된 호출: {}"),
    ("unsupported: {}", "지원하지 않음: {}"),
    ("no memory: {}", "메모리 부족: {}"),
    ("device lost: {}", "장치 유실: {}"),
    ("timeout: {}", "시간 초과: {}"),
    ("cancelled: {}", "취소됨: {}"),
    ("incompatible: {}", "호환되지 않음: {}"),
    ("corrupt: {}", "손상됨: {}"),
    ("busy: {}", "사용 중: {}"),
    ("too hot: {}", "과열: {}"),
    ("permission: {}", "권한 없음: {}"),
    ("internal: {}", "내부 오류: {}"),
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

/// A note of a gate, an error or a reason.
pub fn note(english: &str) -> String {
    let told = |&(en, ko): &(&str, &str)| Some(fill(ko, &parts(en, english)?));
    let known = NOTES.iter().find_map(told);
    known.unwrap_or_else(|| english.to_owned())
}

/// What stands in a text where its pattern has `{}`; `None` if it is not of this pattern. Each
/// is as short as it can be.
fn parts<'t>(pattern: &str, text: &'t str) -> Option<Vec<&'t str>> {
    let (first, rest) = pattern.split_once("{}").unwrap_or((pattern, ""));
    let mut text = text.strip_prefix(first)?;
    if first == pattern {
        return text.is_empty().then(Vec::new);
    }
    let mut parts = Vec::new();
    let mut between: Vec<&str> = rest.split("{}").collect();
    let last = between.pop()?;
    for fixed in between {
        let (part, after) = text.split_once(fixed)?;
        parts.push(part);
        text = after;
    }
    parts.push(text.strip_suffix(last)?);
    parts.iter().all(|part| !part.is_empty()).then_some(parts)
}

/// Puts parts, which may be notes themselves, in the places of a pattern.
fn fill(pattern: &str, parts: &[&str]) -> String {
    let mut filled = String::new();
    let mut parts = parts.iter();
    for (at, fixed) in pattern.split("{}").enumerate() {
        if at > 0 {
            filled += &parts.next().map_or(String::new(), |part| note(part));
        }
        filled += fixed;
    }
    filled
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
        for (english, korean) in [
            ("slower than the CPU", "CPU보다 느림"),
            ("tokens: 96", "토큰 96개"),
            (
                "waived: no tanh. for information, not judged",
                "면제 사유: no tanh. 참고값이며 판정하지 않음",
            ),
            (
                "can't be waived. slower than the CPU",
                "면제할 수 없는 항목임. CPU보다 느림",
            ),
            (
                "row 3, a program of 128 rows, 64 x 96",
                "3행, 128행 프로그램, 가중치 64 x 96",
            ),
            (
                "layers 0 to 1: row 7 depends on the rows from 9 on",
                "layers 0 to 1: 7행의 결과가 9행 이후의 값에 따라 달라짐",
            ),
            (
                "not seen as `timeout`: waiting for a job: device lost: the fan stands (vendor code 7)",
                "`timeout`(으)로 감지되지 않음: 작업 대기: 장치 유실: the fan stands (vendor code 7)",
            ),
            ("error 7", "error 7"),
            ("", ""),
        ] {
            assert_eq!(note(english), korean);
        }
    }

    /// A pattern that comes after one that it fits would never be used.
    #[test]
    fn every_pattern_is_reached() {
        for &(english, korean) in NOTES {
            let places = english.matches("{}").count();
            assert_eq!(places, korean.matches("{}").count(), "{english}");
            let parts = vec!["0"; places];
            assert_eq!(note(&english.replace("{}", "0")), fill(korean, &parts));
        }
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
