//! What the model knows: small tables of words, English first.

/// Country and capital.
pub const CAPITALS: [[&str; 4]; 16] = [
    ["Korea", "Seoul", "한국", "서울"],
    ["Japan", "Tokyo", "일본", "도쿄"],
    ["China", "Beijing", "중국", "베이징"],
    ["France", "Paris", "프랑스", "파리"],
    ["Germany", "Berlin", "독일", "베를린"],
    ["Italy", "Rome", "이탈리아", "로마"],
    ["Spain", "Madrid", "스페인", "마드리드"],
    ["England", "London", "영국", "런던"],
    ["Russia", "Moscow", "러시아", "모스크바"],
    ["Egypt", "Cairo", "이집트", "카이로"],
    ["Canada", "Ottawa", "캐나다", "오타와"],
    ["Thailand", "Bangkok", "태국", "방콕"],
    ["Vietnam", "Hanoi", "베트남", "하노이"],
    ["Greece", "Athens", "그리스", "아테네"],
    ["Mongolia", "Ulaanbaatar", "몽골", "울란바토르"],
    ["Portugal", "Lisbon", "포르투갈", "리스본"],
];

/// Days of the week, from Monday.
pub const DAYS: [[&str; 2]; 7] = [
    ["Monday", "월요일"],
    ["Tuesday", "화요일"],
    ["Wednesday", "수요일"],
    ["Thursday", "목요일"],
    ["Friday", "금요일"],
    ["Saturday", "토요일"],
    ["Sunday", "일요일"],
];

/// A thing and its color.
pub const COLORS: [[&str; 4]; 16] = [
    ["the sky", "blue", "하늘", "파란색"],
    ["the sea", "blue", "바다", "파란색"],
    ["grass", "green", "풀", "초록색"],
    ["a frog", "green", "개구리", "초록색"],
    ["a leaf", "green", "나뭇잎", "초록색"],
    ["snow", "white", "눈", "하얀색"],
    ["milk", "white", "우유", "하얀색"],
    ["salt", "white", "소금", "하얀색"],
    ["coal", "black", "석탄", "검은색"],
    ["the night", "black", "밤", "검은색"],
    ["a banana", "yellow", "바나나", "노란색"],
    ["a lemon", "yellow", "레몬", "노란색"],
    ["a strawberry", "red", "딸기", "빨간색"],
    ["a tomato", "red", "토마토", "빨간색"],
    ["fire", "red", "불", "빨간색"],
    ["a carrot", "orange", "당근", "주황색"],
];

/// Words and their translations.
pub const WORDS: [[&str; 2]; 40] = [
    ["water", "물"],
    ["fire", "불"],
    ["house", "집"],
    ["floor", "바닥"],
    ["room", "방"],
    ["door", "문"],
    ["book", "책"],
    ["friend", "친구"],
    ["school", "학교"],
    ["teacher", "선생님"],
    ["dog", "개"],
    ["cat", "고양이"],
    ["bird", "새"],
    ["fish", "물고기"],
    ["tree", "나무"],
    ["flower", "꽃"],
    ["mountain", "산"],
    ["river", "강"],
    ["sea", "바다"],
    ["sky", "하늘"],
    ["sun", "해"],
    ["moon", "달"],
    ["star", "별"],
    ["rain", "비"],
    ["wind", "바람"],
    ["winter", "겨울"],
    ["summer", "여름"],
    ["spring", "봄"],
    ["autumn", "가을"],
    ["rice", "밥"],
    ["bread", "빵"],
    ["tea", "차"],
    ["hello", "안녕하세요"],
    ["thank you", "감사합니다"],
    ["sorry", "죄송합니다"],
    ["love", "사랑"],
    ["red", "빨간색"],
    ["blue", "파란색"],
    ["green", "초록색"],
    ["yellow", "노란색"],
];

/// Opposites.
pub const OPPOSITES: [[&str; 4]; 10] = [
    ["big", "small", "크다", "작다"],
    ["hot", "cold", "덥다", "춥다"],
    ["fast", "slow", "빠르다", "느리다"],
    ["high", "low", "높다", "낮다"],
    ["long", "short", "길다", "짧다"],
    ["heavy", "light", "무겁다", "가볍다"],
    ["bright", "dark", "밝다", "어둡다"],
    ["many", "few", "많다", "적다"],
    ["new", "old", "새롭다", "오래되다"],
    ["good", "bad", "좋다", "나쁘다"],
];

/// Names of people.
pub const NAMES: [[&str; 2]; 14] = [
    ["Minji", "민지"],
    ["Jisoo", "지수"],
    ["Haneul", "하늘"],
    ["Seojun", "서준"],
    ["Yuna", "유나"],
    ["Dohyun", "도현"],
    ["Jiwon", "지원"],
    ["Sujin", "수진"],
    ["Anna", "안나"],
    ["Tom", "톰"],
    ["Emma", "엠마"],
    ["Paul", "폴"],
    ["Lisa", "리사"],
    ["David", "데이비드"],
];
