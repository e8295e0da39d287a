//! The picture that `make bench` draws.

/// All that is written in an SVG.
pub fn texts(svg: &str) -> Vec<String> {
    let picture = roxmltree::Document::parse(svg).expect("XML");
    picture
        .descendants()
        .filter(|node| node.has_tag_name("text"))
        .map(|node| node.text().expect("a text").trim().to_owned())
        .collect()
}
