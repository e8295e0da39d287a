//! `make bench` with few rounds: it measures everything that it names. The figures differ from machine to
//! machine, but everywhere a Wasm filter costs instructions and memory.

use std::process::Command;

use test_support::project;
use test_support::{pages, svg};
use xtask::{module, root};

use crate::run_for;

const FILTERS: [&str; 4] = [
    "this filter, AWS off",
    "this filter, AWS in requests",
    "this filter, default",
    "this filter, ready for tracing",
];
const OTHERS: [&str; 3] = [
    "Envoy's own request id",
    "example filter, Rust SDK",
    "example filter, Lua",
];

#[test]
fn the_bench_measures_all_that_it_names() {
    let mut bench = Command::new("make");
    bench.args(["bench", "ROUNDS=2", "REQUESTS=100"]);
    let output = run_for(600, &mut bench, "nghttp2-client valgrind");
    let printed = String::from_utf8(output.stdout).expect("the text is UTF-8");

    let heading = module::description(&root().join(module::PATH)).expect("the module can be built");
    let tables: Vec<_> = printed.split(&heading).skip(1).collect();
    let [cpu_time, startup, instructions] = tables[..] else {
        panic!("three tables are headed by {heading}:\n{printed}");
    };

    let sections = rows(cpu_time);
    assert_eq!(sections.len(), 2, "{cpu_time}");
    for rows in sections {
        assert_eq!(rows.len(), 1 + OTHERS.len() + FILTERS.len(), "{cpu_time}");
        for (name, numbers) in &rows {
            let [cpu, low, high, .., per_second, p50, p99] = numbers[..] else {
                panic!("{name}: {numbers:?}");
            };
            assert!(
                0.0 < low && low <= cpu && cpu <= high,
                "{name}: {numbers:?}"
            );
            assert!(per_second > 0.0, "{name}: {numbers:?}");
            assert!(0.0 < p50 && p50 <= p99, "{name}: {numbers:?}");
        }
    }

    let without = numbers_of(startup, "no filter");
    let is_measured = without.len() == 3 && without.iter().all(|number| *number > 5.0);
    assert!(is_measured, "{startup}");
    let wasm = |name: &str| {
        let [code, largest_function, memory, _, _] = numbers_of(startup, name)[..] else {
            panic!("five numbers for {name}:\n{startup}");
        };
        assert!(
            0.0 < largest_function && largest_function <= code,
            "{startup}"
        );
        memory
    };
    let floor = wasm("empty module");
    assert!(floor > 1.0, "{startup}");
    for name in [FILTERS[2], OTHERS[1]] {
        assert!(wasm(name) > floor, "{name}:\n{startup}");
    }
    assert_eq!(numbers_of(startup, OTHERS[2]).len(), 3, "{startup}");

    let sections = rows(instructions);
    assert_eq!(sections.len(), 4, "{instructions}");
    for (rows, is_large) in sections.iter().zip([false, false, true, true]) {
        let cost = |name: &str| {
            let found = rows.iter().find(|(known, _)| *known == name);
            found
                .unwrap_or_else(|| panic!("no {name}:\n{instructions}"))
                .1[0]
        };
        let without = cost("no filter");
        assert!(without > 10.0, "{instructions}");
        let measured = if is_large {
            &FILTERS[2..3]
        } else {
            &FILTERS[..]
        };
        for name in measured {
            assert!(cost(name) > without + 5.0, "{name}:\n{instructions}");
        }
        if !is_large {
            for name in OTHERS {
                assert!(cost(name) > 10.0, "{name}:\n{instructions}");
            }
        }
    }

    let chart = project::text("target/cost.svg");
    let texts = svg::texts(&chart);
    for name in FILTERS.iter().chain(&OTHERS) {
        assert!(texts.iter().any(|known| known == name), "{name}: {texts:?}");
    }

    let page = pages::page("docs/performance.md");
    let shown = page.blocks.iter().find_map(|block| {
        let (command, output) = block.text.split_once('\n')?;
        command.starts_with("$ make bench").then_some(output)
    });
    let shown = shown.expect("docs/performance.md shows what `make bench` prints");
    assert_eq!(
        without_numbers(shown),
        without_numbers(&printed),
        "docs/performance.md shows another table: replace it by what `make bench` prints"
    );
}

/// The rows of each section of a table, which has blanks before the name, and their numbers.
fn rows(table: &str) -> Vec<Vec<(&str, Vec<f64>)>> {
    let mut sections = Vec::new();
    let mut section = Vec::new();
    for line in table.lines().chain([""]) {
        if let Some(row) = line.strip_prefix("  ")
            && let Some((name, rest)) = row.split_once("  ")
            && !name.is_empty()
        {
            section.push((name, numbers(rest)));
        } else if !section.is_empty() {
            sections.push(std::mem::take(&mut section));
        }
    }
    sections
}

fn numbers_of(table: &str, title: &str) -> Vec<f64> {
    let row = table.lines().find_map(|line| line.strip_prefix(title));
    numbers(row.unwrap_or_else(|| panic!("no {title}:\n{table}")))
}

fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// The lines with one sign for each number, and without the name of the machine.
fn without_numbers(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let word = |word| match str::contains(word, |c: char| c.is_ascii_digit()) {
            true => "#",
            false => word,
        };
        let words: Vec<_> = line.split_whitespace().map(word).collect();
        match words[..] {
            ["on", "#", "x", ..] => "on #".into(),
            _ => words.join(" "),
        }
    };
    text.lines().map(line).collect()
}
