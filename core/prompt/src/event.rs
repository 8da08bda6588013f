//! Server-sent events, byte by byte as they come: the data of each event, within bounds.

/// The longest data of one event; a longer one is passed over as a whole.
const DATA_MAX: usize = 2 << 20;

/// Cuts a stream into events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Data of the event that is not over yet.
    data: Vec<u8>,
    line: Vec<u8>,
    after_return: bool,
    /// The event is too long: its data is dropped.
    over: bool,
}

impl Events {
    /// Takes the next bytes and gives `each` the data of every event that they end.
    pub(crate) fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (head, tail) = rest.split_at(end);
            let second_half = rest[end] == b'\n' && self.after_return && end == 0;
            self.after_return = rest[end] == b'\r';
            rest = &tail[1..];
            if second_half {
                continue;
            }
            self.extend(head);
            self.end_line(&mut each);
        }
        if !rest.is_empty() {
            self.after_return = false;
            self.extend(rest);
        }
    }

    fn extend(&mut self, part: &[u8]) {
        if self.over || self.line.len() + self.data.len() + part.len() > DATA_MAX {
            self.over = true;
            self.line = Vec::new();
            self.data = Vec::new();
            return;
        }
        self.line.extend_from_slice(part);
    }

    fn end_line(&mut self, each: &mut impl FnMut(&[u8])) {
        let line = std::mem::take(&mut self.line);
        if self.over {
            // Where the event ends is only seen at an empty line; a line that was dropped may have been one of many,
            // so what follows it counts as the next event, whose data is whole again.
            self.over = false;
            return;
        }
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            if !data.is_empty() {
                each(&data);
            }
            return;
        }
        let Some(value) = line.strip_prefix(b"data:") else { return };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if !self.data.is_empty() {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(parts: &[&[u8]]) -> Vec<String> {
        let mut events = Events::default();
        let mut found = Vec::new();
        for part in parts {
            events.take(part, |data| found.push(String::from_utf8_lossy(data).into_owned()));
        }
        found
    }

    #[test]
    fn events_end_at_empty_lines_however_lines_end() {
        for text in [
            "event: a\ndata: {1}\n\n: ping\n\ndata:2\ndata: 3\n\ndata: left",
            "event: a\r\ndata: {1}\r\n\r\n: ping\r\n\r\ndata:2\r\ndata: 3\r\n\r\ndata: left",
            "event: a\rdata: {1}\r\r: ping\r\rdata:2\rdata: 3\r\rdata: left",
        ] {
            assert_eq!(all(&[text.as_bytes()]), ["{1}", "2\n3"], "{text:?}");
        }
    }

    #[test]
    fn an_endless_event_is_passed_over_and_the_next_is_read() {
        let long = [b"data: ".to_vec(), vec![b'x'; DATA_MAX + 1]].concat();
        assert_eq!(all(&[&long, &long, b"\n\ndata: 1\n\n"]), ["1"]);
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_cut_makes_no_difference(
            text in "(data: [a-c]{0,4}|event: x|:|)(\n|\r\n|\r){1,2}(data: [a-c]{0,4}(\n|\r\n|\r){1,3}){0,4}",
            cuts in proptest::collection::vec(0_usize..80, 0..6),
        ) {
            let whole = all(&[text.as_bytes()]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut parts = Vec::new();
            let mut from = 0;
            for cut in cuts {
                parts.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            parts.push(&text.as_bytes()[from..]);
            prop_assert_eq!(all(&parts), whole);
        }
    }
}
