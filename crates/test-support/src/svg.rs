//! The chart that `make bench` draws.

/// Returns all texts of an SVG image.
#[must_use]
pub fn texts(svg: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).expect("the image is XML");
    document
        .descendants()
        .filter(|node| node.has_tag_name("text"))
        .map(|node| node.text().expect("every text element has a text"))
        .map(|text| text.trim().to_owned())
        .collect()
}
