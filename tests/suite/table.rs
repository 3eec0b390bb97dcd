//! The CSV reader of the check-up example: a malformed table is refused, with line and column.

#[path = "../../examples/data/mod.rs"]
#[allow(dead_code)]
mod data;

use std::io::Write;

fn read(text: &str, label: &str) -> Result<data::Table, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    data::table(file.path().to_str().unwrap(), label).map_err(|error| error.to_string())
}

/// Twelve valid rows, without the header.
fn rows() -> String {
    (0..12).map(|i| format!("{i},{},{}\n", 2 * i, if i % 3 == 0 { "yes" } else { "no" })).collect()
}

#[test]
fn table_of_valid_rows_is_read() {
    let table = read(&format!("a,b,answer\n{}", rows()), "answer").unwrap();
    assert_eq!((table.width, table.labels.len()), (2, 12));
    assert_eq!(table.classes, ["no", "yes"]);
    assert_eq!(table.labels[..4], [1, 0, 0, 1]);
    // The scale is that of the training rows, which a split chooses.
    assert_eq!(table.inputs[..6], [0.0, 0.0, 1.0, 2.0, 2.0, 4.0]);
    let (train, test) = table.split(1);
    assert_eq!((train.labels.len(), test.labels.len()), (10, 2));
}

#[test]
fn table_with_a_malformed_cell_is_refused_with_line_and_column() {
    let header = "a,b,answer\n";
    for (text, label, words) in [
        (
            format!("{header}1,oops,yes\n{}", rows()),
            "answer",
            ["line 2", "column 2 (b)", "expected a number", "\"oops\""],
        ),
        (format!("{header}{}1,,no\n", rows()), "answer", ["line 14", "column 2 (b)", "expected a number", "\"\""]),
        (format!("{header}{}inf,1,no\n", rows()), "answer", ["line 14", "column 1 (a)", "finite", "inf"]),
        (format!("{header}1,2\n{}", rows()), "answer", ["line 2", "column 3", "expected 3 columns", "found 2"]),
        (format!("{header}1,2,no,4\n{}", rows()), "answer", ["line 2", "column 4", "expected 3 columns", "found 4"]),
        (format!("{header}1,2,\n{}", rows()), "answer", ["line 2", "column 3 (answer)", "expected a label", "nothing"]),
        (format!("{header}{}", rows()), "reply", ["line 1", "column reply", "no such column", "answer"]),
        (format!("{header}1,2,yes\n"), "answer", ["line 1", "at least 10 rows", "2 classes", "found 1"]),
        (String::new(), "answer", ["line 1", "column answer", "no such column", "[]"]),
    ] {
        let error = read(&text, label).err().unwrap();
        assert!(words.iter().all(|word| error.contains(word)), "{error:?} does not say {words:?}");
    }
    let missing = data::table("no/such/file.csv", "answer").err().unwrap().to_string();
    assert!(missing.starts_with("no/such/file.csv: "), "{missing}");
}

#[test]
fn table_of_each_shipped_data_set_is_complete() {
    let digits = data::digits().unwrap();
    assert_eq!((digits.width, digits.labels.len(), digits.classes.len()), (64, 1797, 10));
    assert!(digits.inputs.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
    let months = data::sunspots().unwrap();
    assert_eq!((months.len(), months[0]), (3126, 58.0));
}
