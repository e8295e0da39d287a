//! The pages of the documentation, taken apart: `README.md`, `docs/` and the other pages of the root.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::project;

/// A page and what a test can run or check in it.
#[derive(Debug)]
pub struct Page {
    /// The path relative to the project's root.
    pub path: String,
    /// The fenced blocks, in order.
    pub blocks: Vec<Block>,
    /// The links and images.
    pub links: Vec<Link>,
    /// The anchors of the headings, as GitHub makes them.
    pub anchors: Vec<String>,
}

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// The language that follows the fence.
    pub language: String,
    /// The text between the fences.
    pub text: String,
    /// The heading above it.
    pub section: String,
    /// Where it is, for messages.
    pub place: String,
}

/// A link or an image.
#[derive(Debug)]
pub struct Link {
    /// The address.
    pub target: String,
    /// The title, which may be empty.
    pub title: String,
}

/// Returns all pages, the README first.
#[must_use]
pub fn all() -> Vec<Page> {
    let mut paths = vec!["README.md".to_owned()];
    let files = project::files("docs").into_iter();
    paths.extend(files.filter(|path| path.ends_with(".md")));
    paths.extend(["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned));
    paths.iter().map(|path| page(path)).collect()
}

/// Returns the page at a path relative to the project's root.
#[must_use]
pub fn page(path: &str) -> Page {
    let text = project::text(path);
    let mut page = Page {
        path: path.into(),
        blocks: Vec::new(),
        links: Vec::new(),
        anchors: Vec::new(),
    };
    let mut section = String::new();
    let mut heading: Option<String> = None;
    let mut block: Option<Block> = None;
    for (event, range) in Parser::new_ext(&text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                section = heading.take().unwrap_or_default();
                page.anchors.push(anchor(&section));
            }
            Event::Start(Tag::CodeBlock(kind)) => {
                let line = text[..range.start].lines().count() + 1;
                let language = match kind {
                    CodeBlockKind::Fenced(language) => language.into_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                block = Some(Block {
                    language,
                    text: String::new(),
                    section: section.clone(),
                    place: format!("{}:{line}", page.path),
                });
            }
            Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
            Event::Start(
                Tag::Link {
                    dest_url, title, ..
                }
                | Tag::Image {
                    dest_url, title, ..
                },
            ) => page.links.push(Link {
                target: dest_url.into_string(),
                title: title.into_string(),
            }),
            Event::Text(words) | Event::Code(words) => {
                if let Some(block) = &mut block {
                    block.text.push_str(&words);
                } else if let Some(heading) = &mut heading {
                    heading.push_str(&words);
                }
            }
            _ => {}
        }
    }
    page
}

/// Returns the anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let is_kept = |char: &char| char.is_alphanumeric() || "-_".contains(*char);
    let heading = heading.to_lowercase().replace(' ', "-");
    heading.chars().filter(is_kept).collect()
}
