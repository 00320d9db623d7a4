//! The part of JSON that a header is made of: objects, arrays, strings and whole numbers.

use std::borrow::Cow;

/// A part of the text, in bytes: half the size of a `&str`, and a header has very many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    from: u32,
    to: u32,
}

impl Span {
    /// The part itself; empty if it is not one.
    pub(super) fn of(self, text: &[u8]) -> &str {
        let part = text.get(self.from as usize..self.to as usize);
        part.and_then(|part| std::str::from_utf8(part).ok()).unwrap_or_default()
    }

    /// What a string stands for, its escapes resolved.
    pub(super) fn string(self, text: &[u8]) -> Cow<'_, str> {
        let raw = self.of(text);
        if raw.contains('\\') { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) }
    }
}

/// Where the text is not what it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) at: usize,
    pub(super) needs: &'static str,
}

/// Reads a text of at most 4 GB from front to back. Holds nothing but its place.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

type Done<T = ()> = Result<T, Broken>;

impl<'a> Cursor<'a> {
    /// `text`: UTF-8.
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    pub(super) fn broken<T>(&self, needs: &'static str) -> Done<T> {
        Err(Broken { at: self.at, needs })
    }

    /// Bytes read so far.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    fn span(&self, from: usize) -> Done<Span> {
        match (u32::try_from(from), u32::try_from(self.at)) {
            (Ok(from), Ok(to)) => Ok(Span { from, to }),
            _ => self.broken("at most 4 GB of text"),
        }
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8, needs: &'static str) -> Done {
        if self.eat(byte) { Ok(()) } else { self.broken(needs) }
    }

    /// Nothing but white space may follow.
    pub(super) fn end(&mut self) -> Done {
        if self.peek().is_none() { Ok(()) } else { self.broken("the end of the header") }
    }

    /// `{"key": …, …}`; `member` reads each value.
    pub(super) fn object(&mut self, mut member: impl FnMut(&mut Self, Span) -> Done) -> Done {
        self.expect(b'{', "`{`")?;
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':', "`:`")?;
            member(self, key)?;
            if self.eat(b'}') {
                return Ok(());
            }
            self.expect(b',', "`,` or `}`")?;
        }
    }

    /// `[…, …]`; `element` reads each.
    pub(super) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Done) -> Done<Span> {
        self.peek();
        let from = self.at;
        self.expect(b'[', "`[`")?;
        if self.eat(b']') {
            return self.span(from);
        }
        loop {
            element(self)?;
            if self.eat(b']') {
                return self.span(from);
            }
            self.expect(b',', "`,` or `]`")?;
        }
    }

    /// What stands between the quotes, escapes and all.
    pub(super) fn string(&mut self) -> Done<Span> {
        self.expect(b'"', "a string")?;
        let from = self.at;
        while let Some(&byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    let span = self.span(from);
                    self.at += 1;
                    return span;
                }
                b'\\' => self.escape()?,
                0..0x20 => return self.broken("a string without control characters"),
                _ => self.at += 1,
            }
        }
        self.broken("the end of a string")
    }

    fn escape(&mut self) -> Done {
        let len = match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => 6,
            _ => return self.broken("a valid escape"),
        };
        let digits = self.text.get(self.at + 2..self.at + len);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return self.broken("four hexadecimal digits after \\u");
        }
        self.at += len;
        Ok(())
    }

    /// A whole number that fits.
    pub(super) fn integer(&mut self) -> Done<u64> {
        const NEEDS: &str = "a whole number from 0 to 2⁶⁴ − 1";
        let first = self.peek();
        let start = self.at;
        let mut value = 0u64;
        while let Some(digit @ b'0'..=b'9') = self.text.get(self.at) {
            let next =
                value.checked_mul(10).and_then(|ten| ten.checked_add(u64::from(digit - b'0')));
            let Some(next) = next else { return self.broken(NEEDS) };
            value = next;
            self.at += 1;
        }
        let padded = first == Some(b'0') && self.at > start + 1;
        if self.at == start || padded || matches!(self.text.get(self.at), Some(b'.' | b'e' | b'E'))
        {
            return self.broken(NEEDS);
        }
        Ok(value)
    }
}

/// Resolves escapes that [`Cursor::string`] has checked. Half of a surrogate pair becomes U+FFFD.
fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let chars = char::decode_utf16(units(raw)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
    text.extend(chars);
    text
}

/// The text in UTF-16, which `\u` counts in.
fn units(raw: &str) -> impl Iterator<Item = u16> {
    let (mut chars, mut second) = (raw.chars(), None);
    std::iter::from_fn(move || {
        if let Some(unit) = second.take() {
            return Some(unit);
        }
        let mut c = chars.next()?;
        if c == '\\' {
            c = match chars.next()? {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let digits = chars.by_ref().take(4).filter_map(|c| c.to_digit(16));
                    // Four digits fit 16 bits.
                    return Some(digits.fold(0, |unit, digit| unit << 4 | digit as u16));
                }
                other => other,
            };
        }
        let mut room = [0; 2];
        let units = c.encode_utf16(&mut room);
        second = units.get(1).copied();
        units.first().copied()
    })
}

/// Appends `text` as a JSON string.
pub(super) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..'\u{20}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_survive_writing_and_reading() {
        for text in ["", "0.weight", "a\"b\\c/d", "\n\t\u{1}\u{8}", "ü ⁶ 🦀"] {
            let mut json = String::new();
            write_string(text, &mut json);
            let mut cursor = Cursor::new(json.as_bytes());
            assert_eq!(cursor.string().map(|span| span.string(json.as_bytes())), Ok(text.into()));
            assert_eq!(serde_json::from_str::<String>(&json).expect("valid JSON"), text);
        }
    }

    #[test]
    fn strings_are_read_as_serde_json_reads_them() {
        for json in [r#""\u00fc""#, r#""\ud83e\udd80""#, r#""\b\f\n\r\t\/""#, r#""a\u0000b""#] {
            let span = Cursor::new(json.as_bytes()).string().expect("valid");
            assert_eq!(
                span.string(json.as_bytes()),
                serde_json::from_str::<String>(json).expect("valid")
            );
        }
        for json in [r#""\x""#, r#""\u12g4""#, "\"a", "\"\n\"", r#""\u12"#] {
            assert!(Cursor::new(json.as_bytes()).string().is_err(), "{json}");
        }
    }

    #[test]
    fn numbers_are_whole_and_fit() {
        for (text, want) in
            [("0", Some(0)), (" 42]", Some(42)), ("18446744073709551615", Some(u64::MAX))]
        {
            assert_eq!(Cursor::new(text.as_bytes()).integer().ok(), want, "{text}");
        }
        for text in ["", "-1", "1.5", "1e3", "01", "18446744073709551616", "x"] {
            assert!(Cursor::new(text.as_bytes()).integer().is_err(), "{text}");
        }
    }
}
