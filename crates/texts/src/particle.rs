//! The particles of Korean that have two forms, by the sound that the word before them ends with.
//!
//! A syllable of Hangul says its last sound itself. Digits are read in Sino-Korean (1 일, 10 십). A word in Latin letters is
//! read as Korean practitioners say it: capitals and words without a vowel letter by letter (GLM 지엘엠), others by their
//! last sound (Qwen 큐웬, Llama 라마). What that gets wrong is a matter of euphony, never of meaning.

/// The pairs: after a consonant, after a vowel.
pub(crate) const PAIRS: [(&str, &str, &str); 7] = [
    ("은/는", "은", "는"),
    ("이/가", "이", "가"),
    ("을/를", "을", "를"),
    ("과/와", "과", "와"),
    ("으로/로", "으로", "로"),
    ("이다/다", "이다", "다"),
    ("이라/라", "이라", "라"),
];

/// The sound at the end of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Vowel,
    /// The consonant ㄹ, after which (으)로 is as after a vowel.
    Rieul,
    Consonant,
}

/// The form of a pair after a word; none for what is no pair.
pub(crate) fn after(word: &str, pair: &str) -> Option<&'static str> {
    let &(_, consonant, vowel) = PAIRS.iter().find(|(name, _, _)| *name == pair)?;
    Some(match end(word) {
        End::Vowel => vowel,
        End::Rieul if pair == "으로/로" => vowel,
        End::Rieul | End::Consonant => consonant,
    })
}

fn end(word: &str) -> End {
    if word.ends_with('%') {
        return End::Vowel; // 퍼센트
    }
    let word = word.trim_end_matches(|c: char| !c.is_alphanumeric());
    let Some(last) = word.chars().last() else { return End::Vowel };
    match last {
        '가'..='힣' => match (u32::from(last) - u32::from('가')) % 28 {
            0 => End::Vowel,
            8 => End::Rieul,
            _ => End::Consonant,
        },
        '0'..='9' => digit(word),
        _ if last.is_ascii_alphabetic() => {
            let from = word
                .rfind(|c: char| !c.is_ascii_alphabetic())
                .map_or(0, |at| at + word[at..].chars().next().map_or(1, char::len_utf8));
            latin(&word[from..])
        }
        _ => End::Vowel,
    }
}

fn digit(word: &str) -> End {
    let zeros = word.bytes().rev().take_while(|byte| *byte == b'0').count();
    let before = word.as_bytes().iter().rev().nth(zeros);
    match word.as_bytes().last() {
        // 10^12 is 조; ten, hundred, thousand, 10^4 and 10^8 end with a consonant, as 영 does.
        Some(b'0') if (12..16).contains(&zeros) && before.is_some_and(u8::is_ascii_digit) => End::Vowel,
        Some(b'1' | b'7' | b'8') => End::Rieul,
        Some(b'0' | b'3' | b'6') => End::Consonant,
        _ => End::Vowel,
    }
}

fn latin(word: &str) -> End {
    let vowel = |c: char| matches!(c.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
    let spelled = word.chars().all(|c| c.is_ascii_uppercase()) || !word.chars().any(vowel);
    let lower = word.to_ascii_lowercase();
    if spelled {
        return match lower.chars().last() {
            Some('l' | 'r') => End::Rieul,
            Some('m' | 'n') => End::Consonant,
            _ => End::Vowel,
        };
    }
    // A short syllable closed by p, t, k or c: step 스텝, chat 챗, check 체크 not.
    let closed = |ends: &[char]| {
        let mut back = lower.chars().rev();
        back.next().is_some_and(|c| ends.contains(&c))
            && back.next().is_some_and(vowel)
            && !back.next().is_some_and(vowel)
    };
    match lower.as_str() {
        word if word.ends_with('l') || word.ends_with("le") => End::Rieul,
        word if word.ends_with(['m', 'n']) || word.ends_with("ng") => End::Consonant,
        word if word.ends_with("me") || word.ends_with("ne") => End::Consonant,
        _ if closed(&['p', 't', 'k', 'c']) => End::Consonant,
        _ => End::Vowel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sound_chooses_the_form() {
        let said = |word: &str, pair: &str| format!("{word}{}", after(word, pair).expect("a pair"));
        for (word, pair, expected) in [
            ("모델", "은/는", "모델은"),
            ("체크포인트", "이/가", "체크포인트가"),
            ("가중치", "을/를", "가중치를"),
            ("로그", "과/와", "로그와"),
            ("모델", "으로/로", "모델로"),
            ("값", "으로/로", "값으로"),
            ("로그", "으로/로", "로그로"),
            ("스텝 0", "은/는", "스텝 0은"),
            ("스텝 200", "이/가", "스텝 200이"),
            ("스텝 12", "은/는", "스텝 12는"),
            ("스텝 81", "으로/로", "스텝 81로"),
            ("스텝 3", "으로/로", "스텝 3으로"),
            ("1000000000000", "은/는", "1000000000000는"),
            ("0.05", "을/를", "0.05를"),
            ("12 %", "을/를", "12 %를"),
            ("GLM", "은/는", "GLM은"),
            ("GLM-like", "은/는", "GLM-like는"),
            ("Qwen", "과/와", "Qwen과"),
            ("Llama", "을/를", "Llama를"),
            ("Mistral", "으로/로", "Mistral로"),
            ("AdamW", "이/가", "AdamW가"),
            ("mlp", "은/는", "mlp는"),
            ("step", "은/는", "step은"),
            ("router", "이/가", "router가"),
            ("`model.norm`", "은/는", "`model.norm`은"),
            ("부모(GLM)", "을/를", "부모(GLM)을"),
            ("é", "은/는", "é는"),
            ("", "이/가", "가"),
        ] {
            assert_eq!(said(word, pair), expected);
        }
        assert_eq!(after("모델", "은"), None);
    }
}
