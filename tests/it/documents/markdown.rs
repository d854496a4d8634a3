//! As much of Markdown as our own documents use.

/// A fenced block.
pub struct Block {
    /// What stands behind the fence.
    pub info: String,
    /// The line of its first line in the file.
    pub line: usize,
    pub text: String,
}

/// The fenced blocks of a text.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(info) => {
                inside = true;
                blocks.push(Block { info: info.to_owned(), line: number + 2, text: String::new() });
            }
            None if inside => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    assert!(!inside, "a fence is not closed");
    blocks
}

/// The section that begins with this heading, without its heading, until the next one of its level.
pub fn section(text: &str, heading: &str) -> String {
    let mut lines = text.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "there is no `{heading}`");
    lines.take_while(|line| !line.starts_with("## ")).flat_map(|line| [line, "\n"]).collect()
}

/// The rows of all tables of a text, but for their heads.
pub fn tables(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_rule = |line: &str| line.starts_with("|---");
    let rows = lines.iter().enumerate().filter(|(number, line)| {
        line.starts_with('|') && !is_rule(line) && !lines.get(number + 1).is_some_and(|next| is_rule(next))
    });
    rows.map(|(_, line)| cells(line)).collect()
}

/// The cells of a row.
fn cells(row: &str) -> Vec<String> {
    let inner = row.strip_prefix('|').unwrap_or(row);
    let inner = inner.strip_suffix('|').unwrap_or(inner);
    inner.split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// What stands in back-ticks.
pub fn code_spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_parts_of_a_text_are_found() {
    let text = "## A\n| x | y |\n|---|---|\n| `a`, `b` | c |\n\n```yaml fragment\nk: v\n```\n## B\n| z |\n";
    assert_eq!(tables(&section(text, "## A")), [["`a`, `b`", "c"]]);
    assert_eq!(code_spans("`a`, `b`"), ["a", "b"]);
    let block = blocks(text).remove(0);
    assert_eq!((block.info.as_str(), block.line, block.text.as_str()), ("yaml fragment", 7, "k: v\n"));
}
