//! Korean particles that depend on the sound before them.
//!
//! Templates spell both forms, the one after a final consonant first:
//! `온돌(은/는)`, `나무(이에요/예요)`. [`resolve`] keeps the one that fits.

/// The number of the final consonant ㄹ in a Hangul syllable; 0 is none (The Unicode
/// Standard, 3.12).
const RIEUL: u32 = 8;
/// Final consonants of the digits' names: 영 일 이 삼 사 오 육 칠 팔 구. A number that ends in
/// the digit 0 is read 십, 백 or 천 at its end; these have a final consonant as 영 has.
const DIGITS: [u32; 10] = [21, RIEUL, 0, 16, 0, 0, 1, RIEUL, RIEUL, 0];

/// Replaces each `(A/B)` by what fits the character before it.
pub fn resolve(template: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, pair, after)) = next_pair(rest) {
        out.push_str(before);
        out.push_str(choose(out.chars().last(), pair));
        rest = after;
    }
    out + rest
}

/// What is before the first `(A/B)`, its two forms, and what is after it.
fn next_pair(text: &str) -> Option<(&str, (&str, &str), &str)> {
    let (before, rest) = text.split_once('(')?;
    let (pair, after) = rest.split_once(')')?;
    Some((before, pair.split_once('/')?, after))
}

fn choose<'a>(last: Option<char>, (consonant, vowel): (&'a str, &'a str)) -> &'a str {
    match last.map_or(0, final_consonant) {
        0 => vowel,
        RIEUL if consonant == "으로" => vowel,
        _ => consonant,
    }
}

fn final_consonant(c: char) -> u32 {
    match c {
        '가'..='힣' => (u32::from(c) - u32::from('가')) % 28,
        '0'..='9' => DIGITS[c as usize - '0' as usize],
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn particles_fit_the_sound_before_them() {
        assert_eq!(resolve("온돌(은/는) 방(이/가)"), "온돌은 방이");
        assert_eq!(resolve("나무(은/는) 의자(이/가)"), "나무는 의자가");
        assert_eq!(
            resolve("서울(이에요/예요). 도쿄(이에요/예요)."),
            "서울이에요. 도쿄예요."
        );
        assert_eq!(
            resolve("서울(으로/로) 집(으로/로) 학교(으로/로)"),
            "서울로 집으로 학교로"
        );
        assert_eq!(
            resolve("7(이에요/예요) 2(이에요/예요) 10(은/는)"),
            "7이에요 2예요 10은"
        );
    }

    #[test]
    fn text_without_pairs_stays() {
        assert_eq!(resolve("그대로 (있음)"), "그대로 (있음)");
    }
}
