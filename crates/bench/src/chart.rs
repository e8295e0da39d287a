//! The picture of the costs per request.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use xtask::root;

use crate::CHART;
use crate::table::Costs;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: u32 = 880;
const TOP: i32 = 84;
const ROW: i32 = 56;
/// Where all bars begin and where the longest one ends.
const BARS: std::ops::Range<i32> = 260..780;

/// The colours of the bars of the first two sections.
const COLOURS: [RGBColor; 2] = [RGBColor(9, 105, 218), RGBColor(219, 109, 40)];

/// Draws the costs on top of no filter, for the first two kinds of request. The background is white,
/// so that pages of any colour can show it.
///
/// # Errors
/// Returns an error if the file cannot be written.
pub fn draw(unit: &str, costs: &Costs) -> Result<()> {
    let path = root().join(CHART);
    let sections: Vec<_> = costs.sections.iter().zip(COLOURS).collect();
    // The first row is without a filter, and adds nothing.
    let rows = sections.iter().map(|(section, _)| section.rows.len()).max();
    let rows = rows.unwrap_or_default().saturating_sub(1) as i32;
    let longest = sections
        .iter()
        .flat_map(|(section, _)| section.rows.iter().skip(1))
        .map(|row| row.on_top.median())
        .fold(1.0, f64::max);
    let height = TOP + rows * ROW + 16;
    let area = SVGBackend::new(&path, (WIDTH, height as u32)).into_drawing_area();
    let failed = |error| anyhow!("{}: {error}", path.display());
    (|| {
        area.fill(&WHITE)?;
        let title = format!("Cost on top of no filter, in {unit}");
        text(&area, &title, (20, 28), 26, HPos::Left)?;
        for (number, (section, colour)) in sections.iter().enumerate() {
            let x = BARS.start + 240 * number as i32;
            let square = Rectangle::new([(x, 50), (x + 14, 64)], colour.filled());
            area.draw(&square)?;
            text(&area, section.title, (x + 22, 57), 19, HPos::Left)?;
        }
        let bars = area.apply_coord_spec(Cartesian2d::<RangedCoordf64, RangedCoordf64>::new(
            0.0..longest,
            0.0..f64::from(rows),
            (BARS, TOP..TOP + rows * ROW),
        ));
        for (number, (section, colour)) in sections.iter().enumerate() {
            for (place, row) in section.rows.iter().skip(1).enumerate() {
                let value = row.on_top.median();
                let top = place as f64 + 0.12 + 0.38 * number as f64;
                let corners = [(0.0, top), (value.max(0.0), top + 0.34)];
                bars.draw(&Rectangle::new(corners, colour.filled()))?;
                let (x, y) = bars.map_coordinate(&(value.max(0.0), top + 0.17));
                text(&area, &row.on_top.median_text(), (x + 8, y), 18, HPos::Left)?;
                if number == 0 {
                    let (x, y) = bars.map_coordinate(&(0.0, place as f64 + 0.48));
                    text(&area, row.name, (x - 12, y), 19, HPos::Right)?;
                }
            }
        }
        area.present()
    })()
    .map_err(failed)
}

fn text(
    area: &Area,
    text: &str,
    at: (i32, i32),
    size: i32,
    side: HPos,
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let style = ("sans-serif", size)
        .into_text_style(area)
        .pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style))
}
