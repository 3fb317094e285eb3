//! Aligned text.

use super::{Screen, clean_line};

/// Blanks between columns.
const GAP: usize = 2;

/// A colour, by meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hue {
    /// Well.
    Green,
    /// Not as it should be.
    Yellow,
    /// Failed.
    Red,
    /// Less important.
    Dim,
}

impl Hue {
    pub(crate) fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Red => "31",
            Self::Dim => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// One cell: a line of text without control characters.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    hue: Option<Hue>,
}

impl Cell {
    /// The same in a colour.
    pub(crate) fn hue(mut self, hue: Option<Hue>) -> Self {
        self.hue = hue;
        self
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        let text = match text.as_ref() {
            "" => "-".to_owned(),
            text => clean_line(text),
        };
        Self { text, hue: None }
    }
}

/// Rows under headings; columns as wide as their widest cell, the last one open.
#[derive(Debug)]
pub(crate) struct Table {
    headings: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(headings: &'static [&'static str]) -> Self {
        Self { headings, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The table as text; nothing for no rows.
    pub(crate) fn render(&self, screen: Screen) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let heading: Vec<Cell> =
            self.headings.iter().map(|h| Cell::from(h).hue(Some(Hue::Dim))).collect();
        let all = || std::iter::once(&heading).chain(&self.rows);
        let widths: Vec<usize> = (0..self.headings.len())
            .map(|column| {
                all().filter_map(|row| row.get(column)).map(|c| width(&c.text)).max().unwrap_or(0)
            })
            .collect();
        all().map(|row| line(row, &widths, screen)).collect()
    }
}

fn line(row: &[Cell], widths: &[usize], screen: Screen) -> String {
    let mut line = String::new();
    for (column, cell) in row.iter().enumerate() {
        line.push_str(&match cell.hue {
            Some(hue) => screen.paint(&cell.text, hue),
            None => cell.text.clone(),
        });
        if column + 1 < row.len() {
            let wanted = widths.get(column).copied().unwrap_or(0) + GAP;
            line.extend(std::iter::repeat_n(' ', wanted.saturating_sub(width(&cell.text))));
        }
    }
    line.push('\n');
    line
}

/// Width in characters; all of pact's own values are ASCII.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// `name  value` lines for one thing; absent values are left out.
pub(crate) fn fields(pairs: &[(&str, Option<String>)], screen: Screen) -> String {
    let shown = || pairs.iter().filter(|(_, value)| value.is_some());
    let wanted = shown().map(|(name, _)| width(name)).max().unwrap_or(0) + GAP;
    let mut text = String::new();
    for (name, value) in shown() {
        if let Some(value) = value {
            let label = screen.paint(&format!("{:wanted$}", clean_line(name)), Hue::Dim);
            text.push_str(&format!("{label}{}\n", clean_line(value)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_cells_stay_on_their_line() {
        let mut table = Table::new(&["NODE", "STATE", "MESSAGE"]);
        table.row(vec![
            "node-1".into(),
            Cell::from("active").hue(Some(Hue::Green)),
            "two\nlines".into(),
        ]);
        table.row(vec!["n".into(), "".into(), "\u{1b}[31mred".into()]);
        assert_eq!(
            table.render(Screen::NOT_A_TERMINAL),
            "NODE    STATE   MESSAGE\nnode-1  active  two␊lines\nn       -       ␛[31mred\n"
        );
    }
}
