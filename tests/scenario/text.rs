//! Stories as text: paragraphs of comments, steps, and what is to be seen behind them.

/// One file.
pub(crate) struct Story {
    pub(crate) paragraphs: Vec<Paragraph>,
}

/// Comments and steps; what was to be seen is not kept, for it is told anew and then compared.
pub(crate) struct Paragraph {
    head: Vec<String>,
    pub(crate) steps: Vec<String>,
}

const LINE: &str = "----";

impl Story {
    pub(crate) fn parse(text: &str) -> Self {
        let paragraphs = text.trim().split("\n\n").map(Paragraph::parse).collect();
        Self { paragraphs }
    }
}

impl Paragraph {
    fn parse(text: &str) -> Self {
        let head: Vec<String> = text.lines().take_while(|line| *line != LINE).map(str::to_owned).collect();
        let is_step = |line: &&String| !line.starts_with('#') && !line.trim().is_empty();
        Self { steps: head.iter().filter(is_step).cloned().collect(), head }
    }

    /// The paragraph with what is to be seen behind it.
    pub(crate) fn with(&self, seen: &[String]) -> String {
        let mut lines = self.head.clone();
        if !seen.is_empty() {
            lines.push(LINE.to_owned());
            lines.extend_from_slice(seen);
        }
        lines.join("\n")
    }
}
