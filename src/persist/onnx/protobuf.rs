//! The part of protocol buffers that writing an ONNX file takes: numbers, texts, messages in messages.

/// A message being written.
#[derive(Debug, Clone, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            // The lowest seven bits, and that more follow.
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    /// A whole number; negative ones in two's complement, ten bytes long.
    pub(super) fn int(&mut self, field: u32, value: i64) -> &mut Self {
        self.tag(field, 0);
        self.varint(value as u64);
        self
    }

    pub(super) fn float(&mut self, field: u32, value: f32) -> &mut Self {
        self.tag(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) -> &mut Self {
        self.tag(field, 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub(super) fn text(&mut self, field: u32, value: &str) -> &mut Self {
        self.bytes(field, value.as_bytes())
    }

    pub(super) fn message(&mut self, field: u32, value: &Message) -> &mut Self {
        self.bytes(field, &value.0)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the encoding's own documentation.
    #[test]
    fn messages_are_encoded_as_the_documentation_shows() {
        let mut test1 = Message::default();
        test1.int(1, 150);
        assert_eq!(test1.0, [0x08, 0x96, 0x01]);
        let mut test2 = Message::default();
        test2.text(2, "testing");
        assert_eq!(test2.0, [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
        let mut test3 = Message::default();
        test3.message(3, &test1);
        assert_eq!(test3.0, [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let mut negative = Message::default();
        negative.int(1, -2);
        assert_eq!(negative.0, [0x08, 0xfe, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }
}
