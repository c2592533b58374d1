//! From a formula in plain text, as terminals print it, to MathML.
//!
//! The text is Unicode with `_` and `^` for what Unicode has no raised or lowered letters for: `σ1_k²`, `Σ_{j≠i}`, `|A| → I`.
//! A digit after a letter is its index, letters beside each other are factors, and words are words.

use maud::{Markup, PreEscaped, html};

/// The formula as one `<math>` element for each of the statements that commas or semicolons separate.
pub(super) fn formula(text: &str) -> Markup {
    html! {
        div class="formula" {
            @for part in statements(text) { math display="block" { (row(&part)) } }
        }
    }
}

/// The parts between commas and semicolons that no bracket holds; each keeps its comma. What implies something, or is told
/// in words, is one part.
fn statements(text: &str) -> Vec<String> {
    if text.contains('⇒') || text.starts_with("if ") || text.contains(" for ") || text.contains(" with ") {
        return vec![text.to_string()];
    }
    let mut parts = vec![String::new()];
    let (mut depth, mut before) = (0, ' ');
    for c in text.chars() {
        depth += match c {
            '(' | '[' | '{' => 1,
            ')' | ']' | '}' => -1,
            _ => 0,
        };
        let ends = before == ',' || before == ';';
        if ends && depth == 0 && c == ' ' {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
        before = c;
    }
    parts
}

/// The smallest pieces of a formula.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A letter with its accents, and its primes.
    Letter(String, usize),
    /// Two or more letters that are a word.
    Word(String),
    Number(String),
    Operator(char),
    /// Opening or closing, as in the text; `|` is one.
    Fence(char),
    Root,
    /// What is lowered or raised.
    Lowered(Vec<Token>),
    Raised(Vec<Token>),
    Space,
}

fn row(text: &str) -> Markup {
    let mut tokens = tokens(&text.chars().collect::<Vec<_>>());
    // "a" before a word is one itself.
    for at in 0..tokens.len().saturating_sub(2) {
        if let [Token::Letter(letter, 0), Token::Space, Token::Word(_)] = &tokens[at..at + 3]
            && letter == "a"
        {
            tokens[at] = Token::Word("a".to_string());
        }
    }
    // Operators have their own space around them.
    let operator =
        |token: Option<&Token>| matches!(token, Some(Token::Operator(c)) if !matches!(c, ',' | ';' | ':'));
    let beside = |at: usize| operator(tokens.get(at + 1)) || at > 0 && operator(tokens.get(at - 1));
    let kept: Vec<Token> = (0..tokens.len())
        .filter(|&at| tokens[at] != Token::Space || !beside(at))
        .map(|at| tokens[at].clone())
        .collect();
    html! { mrow { (render(&kept)) } }
}

fn is_letter(c: char) -> bool {
    c.is_alphabetic() && lowered(c).is_none() && raised(c).is_none()
}

/// Accents that follow their letter.
fn is_accent(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

/// The letter that Unicode has a lowered form of.
fn lowered(c: char) -> Option<char> {
    match c {
        '₀'..='₉' => char::from_digit(c as u32 - '₀' as u32, 10),
        '₊' => Some('+'),
        '₋' => Some('-'),
        _ => None,
    }
}

/// The same of raised forms.
fn raised(c: char) -> Option<char> {
    match c {
        '⁰' | '⁴'..='⁹' => char::from_digit(c as u32 - '⁰' as u32, 10),
        '¹' => Some('1'),
        '²' => Some('2'),
        '³' => Some('3'),
        '⁻' => Some('-'),
        '⁺' => Some('+'),
        'ᵀ' => Some('T'),
        _ => None,
    }
}

/// Letters that are one word, in a formula or as an index.
fn is_word(letters: &str) -> bool {
    let all_lowercase = letters.chars().all(|c| c.is_ascii_lowercase());
    all_lowercase && letters.len() >= 2 && !matches!(letters, "dt" | "ij" | "ii" | "ji" | "kk" | "tr")
        || letters == "InfoNCE"
}

fn tokens(text: &[char]) -> Vec<Token> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let c = text[at];
        let run = |holds: &dyn Fn(char) -> bool| text[at..].iter().take_while(|c| holds(**c)).count();
        if is_letter(c) {
            let length = run(&|c| is_letter(c) || is_accent(c));
            letters(&text[at..at + length], &mut found);
            at += length;
            // So are parts of a word with a hyphen.
            while matches!(found.last(), Some(Token::Word(_)))
                && text.get(at) == Some(&'-')
                && text[at + 1..].iter().take_while(|c| c.is_ascii_lowercase()).count() > 1
            {
                let part = text[at + 1..].iter().take_while(|c| c.is_ascii_lowercase()).count();
                let rest: String = text[at..=at + part].iter().collect();
                if let Some(Token::Word(word)) = found.last_mut() {
                    word.push_str(&rest);
                }
                at += 1 + part;
            }
            // A number right after a letter is its index, and so is what it is of at infinity.
            if text.get(at) == Some(&'∞') && matches!(found.last(), Some(Token::Letter(..))) {
                found.push(Token::Lowered(vec![Token::Number("∞".to_string())]));
                at += 1;
            }
            let digits = text[at..].iter().take_while(|c| c.is_ascii_digit()).count();
            if digits > 0 && matches!(found.last(), Some(Token::Letter(..))) {
                found.push(Token::Lowered(vec![Token::Number(text[at..at + digits].iter().collect())]));
                at += digits;
            }
        } else if c == '\'' {
            if let Some(Token::Letter(_, primes)) = found.last_mut() {
                *primes += 1;
            } else {
                found.push(Token::Operator('′'));
            }
            at += 1;
        } else if c.is_ascii_digit() {
            let length = run(&|c| c.is_ascii_digit() || c == '.');
            found.push(Token::Number(text[at..at + length].iter().collect()));
            at += length;
        } else if lowered(c).is_some() {
            let length = run(&|c| lowered(c).is_some());
            let plain: Vec<char> = text[at..at + length].iter().filter_map(|c| lowered(*c)).collect();
            found.push(Token::Lowered(tokens(&plain)));
            at += length;
        } else if raised(c).is_some() {
            let length = run(&|c| raised(c).is_some());
            let plain: Vec<char> = text[at..at + length].iter().filter_map(|c| raised(*c)).collect();
            found.push(Token::Raised(plain.into_iter().map(alone).collect()));
            at += length;
        } else if c == '_' || c == '^' {
            let (inside, length) = script(&text[at + 1..]);
            let inside = tokens(inside);
            found.push(if c == '_' { Token::Lowered(inside) } else { Token::Raised(inside) });
            at += 1 + length;
        } else {
            found.push(match c {
                ' ' | '\u{a0}' => Token::Space,
                '(' | ')' | '[' | ']' | '{' | '}' | '|' => Token::Fence(c),
                '√' => Token::Root,
                '∞' | '½' | '…' => Token::Number(c.to_string()),
                c => Token::Operator(c),
            });
            at += 1;
        }
    }
    found
}

fn alone(c: char) -> Token {
    match c {
        c if c.is_ascii_digit() => Token::Number(c.to_string()),
        'T' => Token::Word("T".to_string()),
        c => Token::Operator(c),
    }
}

/// A word, or factors beside each other.
fn letters(text: &[char], found: &mut Vec<Token>) {
    let whole: String = text.iter().collect();
    if is_word(&whole) {
        found.push(Token::Word(whole));
        return;
    }
    for &c in text {
        match found.last_mut() {
            Some(Token::Letter(letter, _)) if is_accent(c) => letter.push(c),
            _ => found.push(Token::Letter(c.to_string(), 0)),
        }
    }
}

/// What an `_` or `^` applies to, and how many characters that is.
fn script(text: &[char]) -> (&[char], usize) {
    if text.first() == Some(&'{') {
        let mut depth = 0;
        for (at, c) in text.iter().enumerate() {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            if depth == 0 {
                return (&text[1..at], at + 1);
            }
        }
    }
    // A power in brackets is what stands in them.
    if text.first() == Some(&'(') {
        let mut depth = 0;
        for (at, c) in text.iter().enumerate() {
            depth += i32::from(*c == '(') - i32::from(*c == ')');
            if depth == 0 {
                return (&text[1..at], at + 1);
            }
        }
    }
    // A sign belongs to what follows it, and primes to an index: k' is one.
    let sign = usize::from(matches!(text.first(), Some('-' | '+')));
    let mut length = sign + text[sign..].iter().take_while(|c| is_letter(**c) || c.is_ascii_digit()).count();
    length += text[length..].iter().take_while(|c| **c == '\'').count();
    (&text[..length], length)
}

/// The index at which what starts at `at` ends, brackets and all that belongs to it.
fn group(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token {
            Token::Fence('(' | '[' | '{') => depth += 1,
            Token::Fence(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

fn render(tokens: &[Token]) -> Markup {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let mut end = at + 1;
        let base = match &tokens[at] {
            Token::Root => {
                let start = (at + 1..tokens.len()).find(|&i| tokens[i] != Token::Space).unwrap_or(at + 1);
                end = group(tokens, start).max(start);
                let inside = &tokens[start.min(end)..end];
                let bare = match inside {
                    [Token::Fence('('), middle @ .., Token::Fence(')')] => middle,
                    all => all,
                };
                html! { msqrt { (render(bare)) } }
            }
            token => leaf(token),
        };
        let (mut low, mut high): (Option<Markup>, Option<Markup>) = (None, None);
        let sum = matches!(&tokens[at], Token::Letter(letter, _) if letter == "Σ")
            || matches!(&tokens[at], Token::Word(word) if word == "min" || word == "max")
            || tokens[at] == Token::Operator('∫');
        let mut limits = false;
        while let Some(token) = tokens.get(end) {
            let (slot, inside) = match token {
                Token::Lowered(inside) => (&mut low, inside),
                Token::Raised(inside) => (&mut high, inside),
                _ => break,
            };
            // A sum has its index under it; Σ_v and Σ_{j≠i} differ by having an operator or a bound letter there.
            limits |= sum && matches!(token, Token::Lowered(inside) if is_range(inside));
            let more = render(inside);
            *slot = Some(match slot.take() {
                // The index of a layer, and an index within it.
                Some(before) if matches!(token, Token::Lowered(_)) => {
                    html! { (before) mo separator="true" lspace="0" rspace="0.1em" { "," } (more) }
                }
                Some(before) => html! { (before) (more) },
                None => more,
            });
            end += 1;
        }
        parts.push(match (low, high) {
            (None, None) => base,
            (Some(low), None) if limits => html! { munder { (base) mrow { (low) } } },
            (Some(low), None) => html! { msub { (base) mrow { (low) } } },
            (None, Some(high)) => html! { msup { (base) mrow { (high) } } },
            (Some(low), Some(high)) => html! { msubsup { (base) mrow { (low) } mrow { (high) } } },
        });
        at = end;
    }
    html! { @for part in parts { (part) } }
}

/// Whether a lowered text is what a sum runs over, and not the name of a covariance.
fn is_range(inside: &[Token]) -> bool {
    let index = |token: &Token| matches!(token, Token::Letter(l, _) if matches!(l.as_str(), "i" | "j" | "k"));
    inside.iter().any(index)
}

fn leaf(token: &Token) -> Markup {
    match token {
        Token::Letter(letter, 0) => html! { mi { (letter) } },
        // A prime is raised as it is: as a superscript it would be too small to be seen.
        Token::Letter(letter, primes) => html! {
            mrow { mi { (letter) } mo lspace="0" rspace="0" { ("′".repeat(*primes)) } }
        },
        Token::Word(word) if word == "T" => html! { mi mathvariant="normal" { "T" } },
        Token::Word(word) => html! { mtext { (word) } },
        Token::Number(number) => html! { mn { (number) } },
        Token::Operator('-') => html! { mo { "−" } },
        Token::Operator(c) => html! { mo { (c) } },
        Token::Fence(c) => html! { mo stretchy="false" lspace="0" rspace="0" { (c) } },
        Token::Space => PreEscaped("<mspace width=\"0.25em\"></mspace>".to_string()),
        Token::Root => html! { mo { "√" } },
        Token::Lowered(inside) => html! { msub { mrow {} mrow { (render(inside)) } } },
        Token::Raised(inside) => html! { msup { mrow {} mrow { (render(inside)) } } },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim;

    fn mathml(text: &str) -> String {
        row(text).into_string().replace("<mspace width=\"0.25em\"></mspace>", " ")
    }

    #[test]
    fn letters_have_indices_powers_and_primes() {
        assert_eq!(mathml("W1"), "<mrow><msub><mi>W</mi><mrow><mn>1</mn></mrow></msub></mrow>");
        assert_eq!(
            mathml("σ1_k'²"),
            "<mrow><msubsup><mi>σ</mi><mrow><mn>1</mn><mo separator=\"true\" lspace=\"0\" rspace=\"0.1em\">,</mo><mrow><mi>k</mi><mo lspace=\"0\" rspace=\"0\">′</mo></mrow></mrow><mrow><mn>2</mn></mrow></msubsup></mrow>"
        );
        assert_eq!(
            mathml("x'_iᵀ"),
            "<mrow><msubsup><mrow><mi>x</mi><mo lspace=\"0\" rspace=\"0\">′</mo></mrow><mrow><mi>i</mi></mrow><mrow><mi mathvariant=\"normal\">T</mi></mrow></msubsup></mrow>"
        );
        assert_eq!(mathml("Ẇ"), "<mrow><mi>Ẇ</mi></mrow>");
        assert_eq!(mathml("Σ̂0"), "<mrow><msub><mi>Σ̂</mi><mrow><mn>0</mn></mrow></msub></mrow>");
    }

    #[test]
    fn powers_have_signs_and_brackets_and_limits_are_indices() {
        let power =
            |base: &str, inside: &str| format!("<mrow><msup>{base}<mrow>{inside}</mrow></msup></mrow>");
        assert_eq!(mathml("s^-q"), power("<mi>s</mi>", "<mo>−</mo><mi>q</mi>"));
        assert_eq!(mathml("t^(-1/2)"), power("<mi>t</mi>", "<mo>−</mo><mn>1</mn><mo>/</mo><mn>2</mn>"));
        assert_eq!(mathml("P⁺"), power("<mi>P</mi>", "<mo>+</mo>"));
        assert_eq!(
            mathml("s∞²"),
            "<mrow><msubsup><mi>s</mi><mrow><mn>∞</mn></mrow><mrow><mn>2</mn></mrow></msubsup></mrow>"
        );
        assert_eq!(mathml("two-sided noise"), "<mrow><mtext>two-sided</mtext> <mtext>noise</mtext></mrow>");
        assert!(
            mathml("σ2_{m+1-k}")
                .contains("<mn>2</mn><mo separator=\"true\" lspace=\"0\" rspace=\"0.1em\">,</mo><mi>m</mi>")
        );
        // A bracket after a function's name is its argument, not a power.
        assert!(
            mathml("X(t)")
                .ends_with("<mi>t</mi><mo stretchy=\"false\" lspace=\"0\" rspace=\"0\">)</mo></mrow>")
        );
    }

    #[test]
    fn sums_have_their_index_below_and_covariances_beside() {
        assert!(
            mathml("Σ_{j≠i} α_ij")
                .starts_with("<mrow><munder><mi>Σ</mi><mrow><mi>j</mi><mo>≠</mo><mi>i</mi></mrow></munder>")
        );
        assert_eq!(mathml("Σ_v"), "<mrow><msub><mi>Σ</mi><mrow><mi>v</mi></mrow></msub></mrow>");
        assert!(mathml("min_{k'≠k}").contains("<munder><mtext>min</mtext>"));
    }

    #[test]
    fn roots_hold_their_bracket_and_words_stay_words() {
        assert_eq!(
            mathml("√(a + b)/2"),
            "<mrow><msqrt><mi>a</mi><mo>+</mo><mi>b</mi></msqrt><mo>/</mo><mn>2</mn></mrow>"
        );
        assert!(mathml("a negative value").starts_with("<mrow><mtext>a</mtext> <mtext>negative</mtext>"));
        assert_eq!(mathml("rank AF"), "<mrow><mtext>rank</mtext> <mi>A</mi><mi>F</mi></mrow>");
        assert_eq!(mathml("d_out"), "<mrow><msub><mi>d</mi><mrow><mtext>out</mtext></mrow></msub></mrow>");
        // Two letters of an index or of a differential are two.
        for (text, [first, second]) in [("ij", ["i", "j"]), ("kk", ["k", "k"]), ("dt", ["d", "t"])] {
            assert_eq!(mathml(text), format!("<mrow><mi>{first}</mi><mi>{second}</mi></mrow>"));
        }
        assert!(mathml("a < b & c").contains("<mo>&lt;</mo>"));
    }

    #[test]
    fn statements_are_parted_at_commas_outside_brackets() {
        assert_eq!(statements("a = (b, c), d_{k,l} = 1; e"), ["a = (b, c),", "d_{k,l} = 1;", "e"]);
        assert_eq!(statements("a > 0, b > 0  ⇒  c"), ["a > 0, b > 0  ⇒  c"]);
    }

    /// No letter of any formula is lost, and none of its marks is left over.
    #[test]
    fn every_formula_of_the_audit_is_typeset() {
        let letters = |text: &str| {
            let kept: String = text
                .chars()
                .filter(|c| c.is_alphanumeric())
                .map(|c| raised(c).or(lowered(c)).unwrap_or(c))
                .collect();
            let mut kept: Vec<char> = kept.chars().filter(|c| c.is_alphanumeric()).collect();
            kept.sort_unstable();
            kept.into_iter().collect::<String>()
        };
        for claim in claim::all() {
            let markup = formula(claim.formula).into_string();
            let mut text = String::new();
            let mut inside = false;
            for c in markup.chars() {
                match c {
                    '<' => inside = true,
                    '>' => inside = false,
                    c if !inside => text.push(c),
                    _ => {}
                }
            }
            let text = text.replace("&lt;", "").replace("&gt;", "").replace("&amp;", "");
            assert_eq!(letters(&text), letters(claim.formula), "{}", claim.id);
            assert!(!text.contains(['_', '^', '√']), "{}: {text}", claim.id);
        }
        // The control: a formula with a letter lost is told.
        assert_ne!(letters("ab"), letters("a"));
    }
}
