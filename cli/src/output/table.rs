//! Aligned text.

use super::columns::{self, fitted, least_width, padded, width, wrapped};
use super::{Screen, clean_line};

/// Blanks between columns.
const GAP: usize = 2;
/// Columns of a table on a terminal: the least that terminals have.
const COLUMNS: usize = 80;

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

/// Rows under headings; columns as wide as their widest cell, the last one open. On a terminal a table takes at most
/// [`COLUMNS`], and what does not fit goes on below.
#[derive(Debug)]
pub(crate) struct Table {
    headings: &'static [&'static str],
    wide_only: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(headings: &'static [&'static str]) -> Self {
        Self { headings, wide_only: &[], rows: Vec::new() }
    }

    /// Columns that only `-o wide` shows.
    pub(crate) fn wide_only(self, headings: &'static [&'static str]) -> Self {
        Self { wide_only: headings, ..self }
    }

    /// One cell for each heading, whether it is shown or not.
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
        let rows: Vec<Vec<&Cell>> = std::iter::once(&heading)
            .chain(&self.rows)
            .map(|row| self.shown(row, screen))
            .collect();
        let widths = widths(&rows, screen);
        rows.iter().map(|row| lines(row, &widths, screen)).collect()
    }

    /// The cells of the columns that are shown.
    fn shown<'a>(&self, row: &'a [Cell], screen: Screen) -> Vec<&'a Cell> {
        let is_shown = |heading: &str| screen.is_wide() || !self.wide_only.contains(&heading);
        self.headings.iter().zip(row).filter(|(h, _)| is_shown(h)).map(|(_, cell)| cell).collect()
    }
}

/// The width of each column.
fn widths(rows: &[Vec<&Cell>], screen: Screen) -> Vec<usize> {
    let count = rows.first().map_or(0, Vec::len);
    let widest = |measure: fn(&str) -> usize| -> Vec<usize> {
        let column = |at| rows.iter().filter_map(move |row| row.get(at));
        (0..count).map(|at| column(at).map(|c| measure(&c.text)).max().unwrap_or(0)).collect()
    };
    let natural = widest(width);
    if !screen.fits_tables() {
        return natural;
    }
    let gaps = GAP * count.saturating_sub(1);
    fitted(&natural, &widest(least_width), COLUMNS.saturating_sub(gaps))
}

/// One row: a line, or as many as its longest cell needs.
fn lines(row: &[&Cell], widths: &[usize], screen: Screen) -> String {
    let broken: Vec<Vec<String>> =
        row.iter().zip(widths).map(|(cell, width)| wrapped(&cell.text, *width)).collect();
    let height = broken.iter().map(Vec::len).max().unwrap_or(0);
    let mut text = String::new();
    for at in 0..height {
        let mut line = String::new();
        for ((cell, pieces), width) in row.iter().zip(&broken).zip(widths) {
            let piece = pieces.get(at).map_or("", String::as_str);
            let painted = match cell.hue.filter(|_| !piece.is_empty()) {
                Some(hue) => screen.paint(piece, hue),
                None => piece.to_owned(),
            };
            line.push_str(&painted);
            line.push_str(&padded("", (width + GAP).saturating_sub(columns::width(piece))));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `name  value` lines for one thing; absent values are left out.
pub(crate) fn fields(pairs: &[(&str, Option<String>)], screen: Screen) -> String {
    let shown =
        || pairs.iter().filter_map(|(name, value)| Some((clean_line(name), value.as_ref()?)));
    let wanted = shown().map(|(name, _)| width(&name)).max().unwrap_or(0) + GAP;
    let mut text = String::new();
    for (name, value) in shown() {
        let label = screen.paint(&padded(&name, wanted), Hue::Dim);
        text.push_str(&format!("{label}{}\n", clean_line(value)));
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

    #[test]
    fn columns_align_whatever_names_they_hold() {
        let mut table = Table::new(&["NODE", "STATE"]);
        for name in ["node-1", "節点", "e\u{301}te\u{301}"] {
            table.row(vec![name.into(), "active".into()]);
        }
        let text = table.render(Screen::NOT_A_TERMINAL);
        for line in text.lines().skip(1) {
            assert_eq!(width(line.strip_suffix("active").unwrap()), 8, "{text}");
        }
    }

    #[test]
    fn a_terminal_shows_80_columns_and_wide_all_of_it() {
        let mut table = Table::new(&["KEY", "OLD", "AGENT", "NEW"]).wide_only(&["AGENT"]);
        let value = "12 bytes, sha256 abababababab, 0644 root:root";
        table.row(vec!["file//etc/motd".into(), value.into(), "0.1.0".into(), value.into()]);
        let text = table.render(Screen::TERMINAL);
        assert_eq!(
            text,
            concat!(
                "KEY             OLD                              NEW\n",
                "file//etc/motd  12 bytes, sha256 abababababab,   12 bytes, sha256 abababababab,\n",
                "                0644 root:root                   0644 root:root\n",
            )
        );
        assert!(text.lines().all(|line| width(line) <= COLUMNS));
        for screen in [Screen::TERMINAL.wide(true), Screen::NOT_A_TERMINAL.wide(true)] {
            let text = table.render(screen);
            assert_eq!(text.lines().count(), 2);
            assert!(
                text.contains("AGENT") && text.ends_with(&format!("0.1.0  {value}\n")),
                "{text}"
            );
        }
        assert!(!table.render(Screen::NOT_A_TERMINAL).contains("AGENT"));
    }
}
