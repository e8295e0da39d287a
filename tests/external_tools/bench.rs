//! `make bench` with few rounds: it measures everything that `docs/performance.md` shows. The figures differ
//! from machine to machine, but everywhere a filter costs instructions, and a Wasm filter memory.

use std::process::Command;

use test_support::project;
use test_support::{pages, svg};
use xtask::{module, root};

use crate::run_for;

#[test]
fn the_bench_measures_all_that_its_page_shows() {
    let mut bench = Command::new("make");
    bench.args(["bench", "ROUNDS=2", "REQUESTS=100"]);
    let output = run_for(600, &mut bench, "nghttp2-client valgrind");
    let printed = String::from_utf8(output.stdout).expect("the text is UTF-8");

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

    let heading = module::description(&root().join(module::PATH)).expect("the module can be built");
    let tables: Vec<_> = printed.split(&heading).skip(1).map(rows).collect();
    let [cpu_time, startup, instructions] = &tables[..] else {
        panic!("three tables are headed by {heading}:\n{printed}");
    };

    for (name, numbers) in cpu_time {
        let [cpu, low, high, .., per_second, p50, p99] = numbers[..] else {
            panic!("{name}: {numbers:?}");
        };
        assert!(
            0.0 < low && low <= cpu && cpu <= high,
            "{name}: {numbers:?}"
        );
        assert!(
            per_second > 0.0 && 0.0 < p50 && p50 <= p99,
            "{name}: {numbers:?}"
        );
    }

    let numbers = |name: &str| {
        let row = startup.iter().find(|(known, _)| *known == name);
        &row.unwrap_or_else(|| panic!("no {name}:\n{startup:?}")).1
    };
    let is_measured = numbers("no filter").iter().all(|&number| number > 5.0);
    assert!(is_measured, "{startup:?}");
    let memory = |name: &str| {
        let [code, largest_function, memory, _, _] = numbers(name)[..] else {
            panic!("five numbers for {name}:\n{startup:?}");
        };
        assert!(
            0.0 < largest_function && largest_function <= code,
            "{startup:?}"
        );
        memory
    };
    let floor = memory("empty module");
    assert!(floor > 1.0, "{startup:?}");
    for name in ["this filter, default", "example filter, Rust SDK"] {
        assert!(memory(name) > floor, "{name}:\n{startup:?}");
    }

    let chart = project::text("target/cost.svg");
    let texts = svg::texts(&chart);
    let mut without = 0.0;
    for (name, numbers) in instructions {
        assert!(numbers[0] > 10.0, "{name}: {numbers:?}");
        if *name == "no filter" {
            without = numbers[0];
            continue;
        }
        let is_filter = name.contains("filter");
        assert!(
            !is_filter || numbers[0] > without + 5.0,
            "{name}: {numbers:?}, not {without}"
        );
        assert!(texts.iter().any(|text| text == name), "{name}: {texts:?}");
    }
}

/// Returns the rows of a table: their names and numbers.
fn rows(table: &str) -> Vec<(&str, Vec<f64>)> {
    let row = |line| {
        let (name, rest) = str::trim_start(line).split_once("  ")?;
        let numbers = rest.split_whitespace().filter_map(|word| word.parse().ok());
        Some((name, numbers.collect()))
    };
    let lines = table.lines().filter(|line| !line.starts_with("   ")); // not the titles of columns
    let rows: Vec<_> = lines.filter_map(row).collect();
    assert!(rows.len() > 4, "{table}");
    rows
}

/// Returns the lines with one sign for each number, and without the name of the machine.
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
