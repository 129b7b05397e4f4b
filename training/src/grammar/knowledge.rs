//! Phrases about what the model knows.

use super::topics::Phrases;

pub(super) fn capital_en() -> Phrases {
    Phrases {
        questions: &[
            "What is the capital of {0}?",
            "Tell me the capital of {0}.",
            "What is the capital city of {0}?",
            "Which city is the capital of {0}?",
            "Name the capital of {0}.",
            "Do you know the capital of {0}?",
        ],
        follow_ups: &["And {0}?", "What about {0}?"],
        answers: &["The capital of {0} is {1}."],
        key: "is {1}.",
        statements: &["The capital of {0} is {1}.", "{1} is the capital of {0}."],
        ..Phrases::NONE
    }
}

pub(super) fn capital_ko() -> Phrases {
    Phrases {
        questions: &[
            "{0}의 수도는 어디예요?",
            "{0}의 수도는?",
            "{0}의 수도를 알려 주세요.",
            "{0} 수도가 어디야?",
            "{0}의 수도는 어디인가요?",
            "{0}의 수도를 알아요?",
        ],
        follow_ups: &["{0}(은/는)요?", "그럼 {0}(은/는)요?"],
        answers: &["{0}의 수도는 {1}(이에요/예요)."],
        key: "수도는 {1}",
        statements: &[
            "{0}의 수도는 {1}(이에요/예요).",
            "{1}(은/는) {0}의 수도예요.",
        ],
        ..Phrases::NONE
    }
}

pub(super) fn country_en() -> Phrases {
    Phrases {
        questions: &[
            "{1} is the capital of which country?",
            "Which country has the capital {1}?",
            "Where is {1}?",
        ],
        follow_ups: &["And {1}?"],
        answers: &["{1} is the capital of {0}."],
        key: "of {0}.",
        ..Phrases::NONE
    }
}

pub(super) fn country_ko() -> Phrases {
    Phrases {
        questions: &[
            "{1}(은/는) 어느 나라의 수도예요?",
            "{1}(이/가) 수도인 나라는 어디예요?",
            "{1}(은/는) 어디에 있어요?",
        ],
        follow_ups: &["{1}(은/는)요?"],
        answers: &["{1}(은/는) {0}의 수도예요."],
        key: " {0}의",
        ..Phrases::NONE
    }
}

pub(super) fn color_en() -> Phrases {
    Phrases {
        questions: &[
            "What color is {0}?",
            "What is the color of {0}?",
            "Which color does {0} have?",
            "Tell me the color of {0}.",
        ],
        follow_ups: &["And {0}?", "What about {0}?"],
        answers: &["{0} is {1}."],
        key: "is {1}.",
        statements: &["{0} is {1}."],
        ..Phrases::NONE
    }
}

pub(super) fn color_ko() -> Phrases {
    Phrases {
        questions: &[
            "{0}(은/는) 무슨 색이에요?",
            "{0}(은/는) 무슨 색이야?",
            "{0}의 색을 알려 주세요.",
            "{0}(은/는) 어떤 색인가요?",
        ],
        follow_ups: &["{0}(은/는)요?", "그럼 {0}(은/는)요?"],
        answers: &["{0}(은/는) {1}이에요."],
        key: " {1}",
        statements: &["{0}(은/는) {1}이에요."],
        ..Phrases::NONE
    }
}

pub(super) fn day_after_en() -> Phrases {
    Phrases {
        questions: &[
            "What day comes after {0}?",
            "Which day is after {0}?",
            "Today is {0}. What day is tomorrow?",
        ],
        follow_ups: &["And after {0}?"],
        answers: &["{1} comes after {0}."],
        key: "{1} comes",
        statements: &["{1} comes after {0}."],
        ..Phrases::NONE
    }
}

pub(super) fn day_after_ko() -> Phrases {
    Phrases {
        questions: &[
            "{0} 다음은 무슨 요일이에요?",
            "{0} 다음 날은 무슨 요일이야?",
            "오늘은 {0}이에요. 내일은 무슨 요일이에요?",
        ],
        follow_ups: &["{0} 다음은요?"],
        answers: &["{0} 다음은 {1}이에요."],
        key: "다음은 {1}",
        statements: &["{0} 다음은 {1}이에요."],
        ..Phrases::NONE
    }
}

pub(super) fn day_before_en() -> Phrases {
    Phrases {
        questions: &[
            "What day comes before {0}?",
            "Which day is before {0}?",
            "Today is {0}. What day was yesterday?",
        ],
        follow_ups: &["And before {0}?"],
        answers: &["{1} comes before {0}."],
        key: "{1} comes",
        statements: &["{1} comes before {0}."],
        ..Phrases::NONE
    }
}

pub(super) fn day_before_ko() -> Phrases {
    Phrases {
        questions: &[
            "{0} 전날은 무슨 요일이에요?",
            "{0} 앞은 무슨 요일이야?",
            "오늘은 {0}이에요. 어제는 무슨 요일이었어요?",
        ],
        follow_ups: &["{0} 전날은요?"],
        answers: &["{0} 전날은 {1}이에요."],
        key: "전날은 {1}",
        statements: &["{0} 전날은 {1}이에요."],
        ..Phrases::NONE
    }
}

pub(super) fn sum_en() -> Phrases {
    Phrases {
        questions: &[
            "What is {0} plus {1}?",
            "What is {0} + {1}?",
            "{0} + {1}",
            "{0}+{1}=?",
            "How much is {0} plus {1}?",
            "Add {0} and {1}.",
        ],
        follow_ups: &["And {0} plus {1}?", "What about {0} + {1}?"],
        answers: &["{0} plus {1} is {2}."],
        key: "is {2}.",
        statements: &["{0} plus {1} is {2}."],
        ..Phrases::NONE
    }
}

pub(super) fn sum_ko() -> Phrases {
    Phrases {
        questions: &[
            "{0} 더하기 {1}(은/는) 뭐예요?",
            "{0} 더하기 {1}(은/는)?",
            "{0} + {1}(은/는) 뭐예요?",
            "{0} 더하기 {1}(은/는) 얼마야?",
            "{0}에 {1}(을/를) 더하면 얼마예요?",
            "{0}(과/와) {1}(을/를) 더해 주세요.",
        ],
        follow_ups: &["그럼 {0} 더하기 {1}(은/는)요?", "{0} 더하기 {1}(은/는)요?"],
        answers: &["{0} 더하기 {1}(은/는) {2}(이에요/예요)."],
        key: " {2}(이에요/예요).",
        statements: &["{0} 더하기 {1}(은/는) {2}(이에요/예요)."],
        ..Phrases::NONE
    }
}

pub(super) fn difference_en() -> Phrases {
    Phrases {
        questions: &[
            "What is {0} minus {1}?",
            "What is {0} - {1}?",
            "{0} - {1}",
            "{0}-{1}=?",
            "How much is {0} minus {1}?",
            "Take {1} from {0}.",
        ],
        follow_ups: &["And {0} minus {1}?", "What about {0} - {1}?"],
        answers: &["{0} minus {1} is {2}."],
        key: "is {2}.",
        statements: &["{0} minus {1} is {2}."],
        ..Phrases::NONE
    }
}

pub(super) fn difference_ko() -> Phrases {
    Phrases {
        questions: &[
            "{0} 빼기 {1}(은/는) 뭐예요?",
            "{0} 빼기 {1}(은/는)?",
            "{0} - {1}(은/는) 뭐예요?",
            "{0} 빼기 {1}(은/는) 얼마야?",
            "{0}에서 {1}(을/를) 빼면 얼마예요?",
            "{0}에서 {1}(을/를) 빼 주세요.",
        ],
        follow_ups: &["그럼 {0} 빼기 {1}(은/는)요?", "{0} 빼기 {1}(은/는)요?"],
        answers: &["{0} 빼기 {1}(은/는) {2}(이에요/예요)."],
        key: " {2}(이에요/예요).",
        statements: &["{0} 빼기 {1}(은/는) {2}(이에요/예요)."],
        ..Phrases::NONE
    }
}

pub(super) fn count_en() -> Phrases {
    Phrases {
        questions: &[
            "Count from {0} to {1}.",
            "Please count from {0} to {1}.",
            "Can you count from {0} to {1}?",
        ],
        follow_ups: &["And from {0} to {1}?"],
        answers: &["{2}."],
        key: "{2}.",
        statements: &["From {0} to {1}: {2}."],
        ..Phrases::NONE
    }
}

pub(super) fn count_ko() -> Phrases {
    Phrases {
        questions: &[
            "{0}부터 {1}까지 세어 주세요.",
            "{0}에서 {1}까지 세어 봐.",
            "{0}부터 {1}까지 셀 수 있어요?",
        ],
        follow_ups: &["{0}부터 {1}까지는요?"],
        answers: &["{2}."],
        key: "{2}.",
        statements: &["{0}부터 {1}까지: {2}."],
        ..Phrases::NONE
    }
}

pub(super) fn to_korean_en() -> Phrases {
    Phrases {
        questions: &[
            "How do you say {0} in Korean?",
            "What is {0} in Korean?",
            "Say {0} in Korean.",
            "Translate {0} to Korean.",
            "What is the Korean word for {0}?",
        ],
        follow_ups: &["And {0}?", "What about {0}?"],
        answers: &["{0} in Korean is {1}."],
        key: "is {1}.",
        statements: &["The Korean word for {0} is {1}."],
        ..Phrases::NONE
    }
}

pub(super) fn to_korean_ko() -> Phrases {
    Phrases {
        questions: &[
            "{0}의 뜻은 뭐예요?",
            "영어 {0}의 뜻을 알려 주세요.",
            "{0}의 뜻이 뭐야?",
            "{0}, 한국어로 뭐예요?",
            "영어 {0}의 뜻은 무엇인가요?",
        ],
        follow_ups: &["그럼 {0}의 뜻은요?"],
        answers: &["{0}의 뜻은 {1}(이에요/예요)."],
        key: "뜻은 {1}",
        statements: &["영어 {0}의 뜻은 {1}(이에요/예요)."],
        ..Phrases::NONE
    }
}

pub(super) fn to_english_en() -> Phrases {
    Phrases {
        questions: &[
            "How do you say {1} in English?",
            "What is {1} in English?",
            "Say {1} in English.",
            "What does {1} mean?",
            "Translate {1} to English.",
        ],
        follow_ups: &["And {1}?", "What about {1}?"],
        answers: &["{1} in English is {0}."],
        key: "is {0}.",
        ..Phrases::NONE
    }
}

pub(super) fn to_english_ko() -> Phrases {
    Phrases {
        questions: &[
            "{1}(은/는) 영어로 뭐예요?",
            "{1}(을/를) 영어로 말해 주세요.",
            "{1}(은/는) 영어로 뭐라고 해요?",
            "{1}(이/가) 영어로 뭐야?",
        ],
        follow_ups: &["그럼 {1}(은/는) 영어로요?"],
        answers: &["{1}(은/는) 영어로 {0}입니다."],
        key: "영어로 {0}입",
        statements: &["{1}(은/는) 영어로 {0}입니다."],
        ..Phrases::NONE
    }
}

pub(super) fn opposite_en() -> Phrases {
    Phrases {
        questions: &[
            "What is the opposite of {0}?",
            "What is the opposite of {1}?",
            "Tell me the opposite of {0}.",
            "Tell me the opposite of {1}.",
        ],
        follow_ups: &["And the opposite of {0}?"],
        answers: &["{0} and {1} are opposites."],
        key: "and {1} are",
        statements: &["{0} and {1} are opposites."],
        ..Phrases::NONE
    }
}

pub(super) fn opposite_ko() -> Phrases {
    Phrases {
        questions: &[
            "{0}의 반대말은 뭐예요?",
            "{1}의 반대말은 뭐예요?",
            "{0}의 반대말을 알려 주세요.",
            "{1}의 반대말을 알려 주세요.",
        ],
        follow_ups: &["그럼 {0}의 반대말은요?"],
        answers: &["{0}와 {1}는 서로 반대예요."],
        key: "{0}와 {1}",
        statements: &["{0}와 {1}는 서로 반대예요."],
        ..Phrases::NONE
    }
}
