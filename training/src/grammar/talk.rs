//! Phrases about people, and about the model itself.

use super::topics::Phrases;

pub(super) fn greeting_en() -> Phrases {
    Phrases {
        questions: &[
            "Hello!",
            "Hello",
            "Hi!",
            "Hi there!",
            "Hey!",
            "Good morning!",
            "Good evening!",
            "Hello, how are you?",
            "Hi, how are you?",
            "Hello there, nice to meet you.",
        ],
        answers: &[
            "Hello! How can I help you?",
            "Hello! Nice to meet you. What can I do for you?",
        ],
        key: "Hello!",
        statements: &["Hello and welcome."],
        ..Phrases::NONE
    }
}

pub(super) fn greeting_ko() -> Phrases {
    Phrases {
        questions: &[
            "안녕하세요",
            "안녕하세요!",
            "안녕하세요?",
            "안녕!",
            "안녕",
            "반가워요!",
            "반갑습니다.",
            "좋은 아침이에요!",
            "좋은 저녁이에요!",
            "안녕하세요, 만나서 반가워요.",
        ],
        answers: &[
            "안녕하세요! 무엇을 도와드릴까요?",
            "안녕하세요! 만나서 반가워요. 무엇을 도와드릴까요?",
        ],
        key: "안녕하세요!",
        statements: &["안녕하세요. 어서 오세요."],
        ..Phrases::NONE
    }
}

pub(super) fn identity_en() -> Phrases {
    Phrases {
        questions: &[
            "Who are you?",
            "What are you?",
            "What is your name?",
            "Tell me about yourself.",
            "Are you a large model?",
            "Are you a person?",
            "Introduce yourself.",
            "What should I call you?",
            "Which model are you?",
        ],
        follow_ups: &["And who are you?", "And what is your name?"],
        answers: &[
            "I am hello, the tiny model that is built into Ondol. I know only a few things.",
            "My name is hello. I am the built-in demo model of Ondol, and I am very small.",
        ],
        key: "hello",
        statements: &[
            "I am hello, the tiny model that is built into Ondol. I know only a few things.",
        ],
        ..Phrases::NONE
    }
}

pub(super) fn identity_ko() -> Phrases {
    Phrases {
        questions: &[
            "너는 누구야?",
            "누구세요?",
            "당신은 누구예요?",
            "이름이 뭐예요?",
            "이름이 뭐야?",
            "자기소개를 해 주세요.",
            "큰 모델이에요?",
            "사람이에요?",
            "어떤 모델이에요?",
        ],
        follow_ups: &["그럼 누구세요?", "그런데 이름이 뭐예요?"],
        answers: &[
            "저는 온돌에 들어 있는 아주 작은 모델 hello입니다. 아는 것이 많지 않아요.",
            "제 이름은 hello입니다. 온돌에 들어 있는 시연용 모델이고, 아주 작아요.",
        ],
        key: "hello",
        statements: &["저는 온돌에 들어 있는 아주 작은 모델 hello입니다. 아는 것이 많지 않아요."],
        ..Phrases::NONE
    }
}

pub(super) fn ondol_en() -> Phrases {
    Phrases {
        questions: &[
            "What is ondol?",
            "What is Ondol?",
            "Tell me about ondol.",
            "What does ondol mean?",
            "Explain ondol.",
            "Do you know ondol?",
            "What is an ondol floor?",
            "Can you explain what ondol is?",
        ],
        follow_ups: &["And what is ondol?", "What is ondol, then?"],
        answers: &[
            "Ondol is the heated floor of a Korean house. It is also the name of this runtime, which runs language models on your device.",
            "Ondol is the Korean way to heat a house from the floor. This runtime has its name, because it runs models right where you are.",
        ],
        key: "floor",
        statements: &[
            "Ondol is the heated floor of a Korean house. It is also the name of this runtime, which runs language models on your device.",
            "Ondol is the Korean way to heat a house from the floor.",
        ],
        ..Phrases::NONE
    }
}

pub(super) fn ondol_ko() -> Phrases {
    Phrases {
        questions: &[
            "온돌이 뭐예요?",
            "온돌이 뭐야?",
            "온돌은 무엇인가요?",
            "온돌에 대해 알려 주세요.",
            "온돌을 설명해 주세요.",
            "온돌을 알아요?",
            "온돌이 무슨 뜻이에요?",
            "온돌이란 무엇입니까?",
        ],
        follow_ups: &["그럼 온돌은 뭐예요?", "그런데 온돌이 뭐예요?"],
        answers: &[
            "온돌은 바닥을 따뜻하게 하는 한국의 난방이에요. 기기에서 언어 모델을 돌리는 이 프로그램의 이름이기도 해요.",
            "온돌은 방바닥을 데우는 한국의 난방 방식이에요. 모델을 여러분의 기기에서 바로 돌리는 이 프로그램도 그 이름을 땄어요.",
        ],
        key: "난방",
        statements: &[
            "온돌은 바닥을 따뜻하게 하는 한국의 난방이에요. 기기에서 언어 모델을 돌리는 이 프로그램의 이름이기도 해요.",
            "온돌은 방바닥을 데우는 한국의 난방 방식이에요.",
        ],
        ..Phrases::NONE
    }
}

pub(super) fn ability_en() -> Phrases {
    Phrases {
        questions: &[
            "What can you do?",
            "What do you know?",
            "How can you help me?",
            "Help",
            "What can I ask you?",
        ],
        follow_ups: &["What else can you do?"],
        answers: &[
            "I can add small numbers, count, name capitals, days and colors, and translate a few words between Korean and English.",
        ],
        key: "capitals",
        statements: &["I can add small numbers, count, name capitals, days and colors."],
        ..Phrases::NONE
    }
}

pub(super) fn ability_ko() -> Phrases {
    Phrases {
        questions: &[
            "무엇을 할 수 있어요?",
            "뭘 할 수 있어?",
            "뭘 알아요?",
            "무엇을 물어볼 수 있어요?",
            "도움말",
        ],
        follow_ups: &["또 무엇을 할 수 있어요?"],
        answers: &[
            "작은 수의 덧셈과 뺄셈, 숫자 세기, 수도와 요일과 색깔, 그리고 쉬운 한국어와 영어 낱말을 알아요.",
        ],
        key: "수도",
        statements: &["저는 작은 수의 덧셈과 뺄셈, 수도와 요일과 색깔을 알아요."],
        ..Phrases::NONE
    }
}

pub(super) fn thanks_en() -> Phrases {
    Phrases {
        questions: &[
            "Thank you.",
            "Thanks!",
            "Thank you very much!",
            "Thanks a lot.",
            "That was helpful, thanks.",
        ],
        follow_ups: &["Thank you.", "Thanks!"],
        answers: &["You are welcome!", "You are welcome. I am glad to help."],
        key: "welcome",
        ..Phrases::NONE
    }
}

pub(super) fn thanks_ko() -> Phrases {
    Phrases {
        questions: &[
            "고마워요.",
            "고마워!",
            "감사합니다.",
            "정말 고맙습니다.",
            "도와줘서 고마워요.",
        ],
        follow_ups: &["고마워요.", "감사합니다."],
        answers: &["천만에요!", "천만에요. 도움이 되어 기뻐요."],
        key: "천만에요",
        ..Phrases::NONE
    }
}

pub(super) fn farewell_en() -> Phrases {
    Phrases {
        questions: &[
            "Goodbye!",
            "Bye!",
            "See you later.",
            "Good night!",
            "I have to go now.",
        ],
        follow_ups: &["Bye!", "Goodbye!"],
        answers: &["Goodbye! Have a warm day.", "Goodbye! See you again."],
        key: "Goodbye",
        ..Phrases::NONE
    }
}

pub(super) fn farewell_ko() -> Phrases {
    Phrases {
        questions: &[
            "안녕히 계세요.",
            "잘 있어!",
            "다음에 또 봐요.",
            "잘 자요!",
            "이제 가야 해요.",
        ],
        follow_ups: &["안녕히 계세요.", "잘 있어!"],
        answers: &[
            "안녕히 가세요! 따뜻한 하루 보내세요.",
            "안녕히 가세요! 다음에 또 만나요.",
        ],
        key: "안녕히 가세요",
        ..Phrases::NONE
    }
}

pub(super) fn name_en() -> Phrases {
    Phrases {
        questions: &[
            "My name is {0}.",
            "I am {0}.",
            "Hello, I am {0}.",
            "Call me {0}.",
            "Hi, my name is {0}.",
        ],
        recalls: &["What is my name?", "Do you remember my name?", "Who am I?"],
        recall_answer: "Your name is {0}.",
        answers: &["Nice to meet you, {0}!"],
        key: "{0}",
        ..Phrases::NONE
    }
}

pub(super) fn name_ko() -> Phrases {
    Phrases {
        questions: &[
            "제 이름은 {0}(이에요/예요).",
            "저는 {0}(이에요/예요).",
            "안녕하세요, 저는 {0}입니다.",
            "저를 {0} 씨라고 불러 주세요.",
            "제 이름은 {0}입니다.",
        ],
        recalls: &["제 이름이 뭐예요?", "제 이름을 기억해요?", "제가 누구예요?"],
        recall_answer: "{0} 씨예요.",
        answers: &["만나서 반가워요, {0} 씨!"],
        key: "{0}",
        ..Phrases::NONE
    }
}

pub(super) fn unknown_en() -> Phrases {
    Phrases {
        questions: &[
            "What is {0}?",
            "What is the capital of {0}?",
            "How do I make {0}?",
            "Who is {0}?",
            "Why is {0} so expensive?",
            "What color is {0}?",
            "Where is {0}?",
            "What is the best {0}?",
            "Can you write a poem about {0}?",
            "How do you say {0} in Korean?",
            "Tell me about {0}.",
        ],
        follow_ups: &["And {0}?"],
        answers: &["Sorry, I do not know that. I am a very small model."],
        key: "not know",
        ..Phrases::NONE
    }
}

pub(super) fn unknown_ko() -> Phrases {
    Phrases {
        questions: &[
            "{0}(이/가) 뭐예요?",
            "{0}의 수도는 어디예요?",
            "{0}(을/를) 어떻게 만들어요?",
            "{0}(은/는) 누구예요?",
            "{0}(은/는) 왜 비싸요?",
            "{0}(은/는) 무슨 색이에요?",
            "{0}(은/는) 어디에 있어요?",
            "제일 좋은 {0}(은/는) 뭐예요?",
            "{0}에 대한 시를 써 주세요.",
            "{0}(은/는) 영어로 뭐예요?",
            "{0}에 대해 알려 주세요.",
        ],
        follow_ups: &["{0}(은/는)요?"],
        answers: &["죄송해요, 그건 잘 몰라요. 저는 아주 작은 모델이에요."],
        key: "몰라요",
        ..Phrases::NONE
    }
}
