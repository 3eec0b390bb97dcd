//! The data that ships with the repository, and a user's own table.

use std::{error::Error, fmt, io::Read};

/// Rows of numbers with a class each.
pub struct Table {
    pub width: usize,
    pub inputs: Vec<f32>,
    pub labels: Vec<usize>,
    pub classes: Vec<String>,
}

/// A malformed file: the fault and its position.
#[derive(Debug)]
pub struct Malformed {
    file: String,
    line: u64,
    column: String,
    what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}, column {}: {}", self.file, self.line, self.column, self.what)
    }
}

impl Error for Malformed {}

/// The digits: 64 pixels from 0 to 1, and the class.
pub fn digits() -> Result<Table, Box<dyn Error>> {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&include_bytes!("../../data/digits.csv.gz")[..]).read_to_end(&mut text)?;
    let mut table = read("digits.csv.gz", &text, None)?;
    table.inputs.iter_mut().for_each(|pixel| *pixel /= 16.0);
    Ok(table)
}

/// The monthly sunspot numbers in order.
pub fn sunspots() -> Result<Vec<f64>, Box<dyn Error>> {
    let mut reader = csv::Reader::from_reader(&include_bytes!("../../data/sunspots-monthly.csv")[..]);
    reader.records().map(|row| Ok(row?.get(2).unwrap_or_default().parse()?)).collect()
}

/// A user's own table: a header, numbers, and a column of labels.
pub fn table(path: &str, label: &str) -> Result<Table, Box<dyn Error>> {
    let text = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    Ok(read(path, &text, Some(label))?)
}

/// Reads numbers and labels; without the name of a label column there is no header, and labels are in the last column.
fn read(file: &str, text: &[u8], label: Option<&str>) -> Result<Table, Malformed> {
    let fail =
        |line: u64, column: &str, what: String| Malformed { file: file.into(), line, column: column.into(), what };
    let mut reader = csv::ReaderBuilder::new().has_headers(label.is_some()).flexible(true).from_reader(text);
    let header = match label {
        Some(_) => reader.headers().map_err(|error| fail(1, "?", error.to_string()))?.clone(),
        None => csv::StringRecord::new(),
    };
    let mut table = Table { width: 0, inputs: Vec::new(), labels: Vec::new(), classes: Vec::new() };
    let mut columns = header.len();
    let position = label.map(|label| {
        let found = header.iter().position(|name| name.trim() == label);
        found
            .ok_or_else(|| fail(1, label, format!("no such column; there are {:?}", header.iter().collect::<Vec<_>>())))
    });
    let position = position.transpose()?;
    let mut names = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            fail(line, "?", error.to_string())
        })?;
        let line = row.position().map_or(0, csv::Position::line);
        if columns == 0 {
            columns = row.len();
        }
        let at = position.unwrap_or(columns.saturating_sub(1));
        if row.len() != columns {
            let column = row.len().min(columns) + 1;
            return Err(fail(line, &column.to_string(), format!("expected {columns} columns, found {}", row.len())));
        }
        for (i, field) in row.iter().enumerate() {
            let name = || header.get(i).map_or_else(|| (i + 1).to_string(), |name| format!("{} ({name})", i + 1));
            let field = field.trim();
            if i == at {
                if field.is_empty() {
                    return Err(fail(line, &name(), "expected a label, found nothing".into()));
                }
                names.push(field.to_string());
                continue;
            }
            let value: f32 =
                field.parse().map_err(|_| fail(line, &name(), format!("expected a number, found {field:?}")))?;
            if !value.is_finite() {
                return Err(fail(line, &name(), format!("expected a finite number, found {field}")));
            }
            table.inputs.push(value);
        }
    }
    table.width = columns.saturating_sub(1);
    table.classes = names.clone();
    table.classes.sort();
    table.classes.dedup();
    table.labels = names.iter().filter_map(|name| table.classes.binary_search(name).ok()).collect();
    if table.width == 0 || table.labels.len() < 10 || table.classes.len() < 2 {
        let what = format!(
            "expected at least 10 rows, 1 column of numbers and 2 classes, found {}, {} and {}",
            table.labels.len(),
            table.width,
            table.classes.len()
        );
        return Err(fail(1, "?", what));
    }
    Ok(table)
}

impl Table {
    /// Splits the rows at random into two parts, the second with a fifth of them.
    pub fn split(&self, seed: u64) -> (Table, Table) {
        let mut order: Vec<usize> = (0..self.labels.len()).collect();
        chainrule::random::shuffle(&mut order, seed, 0);
        let (test, train) = order.split_at(order.len() / 5);
        (self.pick(train), self.pick(test))
    }

    fn pick(&self, rows: &[usize]) -> Table {
        Table {
            width: self.width,
            inputs: rows.iter().flat_map(|&row| &self.inputs[row * self.width..][..self.width]).copied().collect(),
            labels: rows.iter().map(|&row| self.labels[row]).collect(),
            classes: self.classes.clone(),
        }
    }
}
