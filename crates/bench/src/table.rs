//! The tables.

use std::fmt::{self, Display, Formatter};

use comfy_table::{CellAlignment, Table};

use crate::samples::Samples;

/// The costs of one kind of request.
pub struct Section {
    pub title: &'static str,
    /// The variants; the first is without a filter.
    pub rows: Vec<Row>,
}

pub struct Row {
    pub name: &'static str,
    /// The cost of a request.
    pub cost: Samples,
    /// The cost on top of no filter in the same round.
    pub on_top: Samples,
    /// The texts of the further columns.
    pub others: Vec<String>,
}

pub struct Costs {
    /// The unit of the costs, which is the title of their column.
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
                    row.cost.median_text(),
                    row.cost.quartiles_text(),
                ];
                cells.extend(match number {
                    0 => [String::new(), String::new()],
                    _ => [row.on_top.median_text(), row.on_top.quartiles_text()],
                });
                cells.extend(row.others.iter().cloned());
                table.add_row(cells);
            }
        }
        formatter.write_str(&table.trim_fmt())
    }
}

/// Returns a table without lines, with text in the first column and numbers in the others.
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
