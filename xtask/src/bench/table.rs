//! Costs by workload and variant, as a table.

use std::fmt::{self, Display, Formatter};

use comfy_table::{CellAlignment, Table};

use super::samples::Samples;

/// What requests of one kind cost, one row for each variant.
pub struct Section {
    pub title: &'static str,
    pub rows: Vec<Row>,
}

pub struct Row {
    pub name: &'static str,
    /// For each request.
    pub cost: Samples,
    /// What of it is more than without a filter, in the same round.
    pub on_top: Samples,
    /// Further columns.
    pub others: Vec<String>,
}

pub struct Costs {
    /// What is counted: the title of the first column of numbers.
    pub unit: &'static str,
    /// The titles of the further columns.
    pub others: &'static [&'static str],
    pub sections: Vec<Section>,
}

impl Display for Costs {
    fn fmt(&self, formatter: &mut Formatter) -> fmt::Result {
        let columns = ["", self.unit, "quartiles", "on top", "quartiles"];
        let mut table = plain(columns.iter().chain(self.others));
        for (number, section) in self.sections.iter().enumerate() {
            if number > 0 {
                table.add_row([""]);
            }
            table.add_row([section.title]);
            for (number, row) in section.rows.iter().enumerate() {
                let mut cells = vec![
                    format!("  {}", row.name),
                    row.cost.middle(),
                    row.cost.quartiles(),
                ];
                cells.extend(match number {
                    0 => [String::new(), String::new()],
                    _ => [row.on_top.middle(), row.on_top.quartiles()],
                });
                cells.extend(row.others.iter().cloned());
                table.add_row(cells);
            }
        }
        formatter.write_str(&table.trim_fmt())
    }
}

/// A table without lines, the first column of which is text and all others numbers.
pub fn plain<'a>(titles: impl IntoIterator<Item = &'a &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(titles);
    if let Some(names) = table.column_mut(0) {
        names.set_padding((0, 1));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
