//! `report.html`: one offline page, readable on screen and on paper.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::figure::{Figure, Styles};
use super::figures::{self, Named, Part};
use super::format::count;
use super::table::Table;
use super::{
    PROVENANCE_MARK, answer, behaviour, ceilings, inspections, mechanisms, provenance, tables,
};
use crate::aggregate::Analysis;
use crate::aggregate::stats::Method;
use crate::aggregate::verdict::Outcome;
use crate::inspection::shares_networks;
use crate::results::SweepResults;

const STYLE: &str = include_str!("report.css");

/// The report as a page.
pub(super) fn html(a: &Analysis, results: &SweepResults) -> String {
    let styles = Styles::new(&a.arms);
    let sections = sections(a, results);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (a.name) " – Seedbed" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kicker { "Seedbed sweep" }
                    h1 { (a.name) }
                    p.question { (answer::question(a)) }
                    div.answer {
                        @if a.exploratory() { span.badge { "exploratory" } }
                        @if a.sealed() { span.badge { "sealed" } }
                        @if let (Some(v), Some(title)) = (&a.verdict, tables::verdict_title(a)) {
                            p.verdict.undetermined[v.outcome == Outcome::Undetermined] {
                                (title) ": " b { (v.outcome.words()) }
                            }
                        }
                        @for line in answer::answer(a) { p { (line) } }
                    }
                    (legend(a, &styles))
                }
                nav {
                    ol {
                        @for (id, title, _) in &sections {
                            li { a href={"#" (id)} { (title) } }
                        }
                        li { a href="#provenance" { "Provenance" } }
                    }
                }
                main {
                    @for (id, title, content) in &sections {
                        section id=(id) { h2 { (title) } (content) }
                    }
                    (PreEscaped(format!("\n{PROVENANCE_MARK}\n")))
                    section #provenance {
                        h2 { "Provenance" }
                        p { (provenance::summary(results)) }
                        (table(&provenance::machines(results)))
                        (table(&provenance::failures(results)))
                        p { "Each attempt with its times: " code { "provenance.json" } "." }
                    }
                }
            }
        }
    };
    page.into_string()
}

/// The parts that depend on the sweep and its results alone.
fn sections(a: &Analysis, sweep: &SweepResults) -> Vec<(&'static str, &'static str, Markup)> {
    let mut sections = Vec::new();
    let drawn = figures::all(a);
    let of = |part: Part| {
        drawn
            .iter()
            .filter(move |f| f.0 == part)
            .collect::<Vec<_>>()
    };
    let mut figures = 0;
    let mut part = |id, title, drawings: Vec<&Named>, more: Markup| {
        if !drawings.is_empty() || !more.0.is_empty() {
            let content = html! {
                @for (_, name, drawing) in drawings {
                    @let number = { figures += 1; figures };
                    (figure(drawing, name, number))
                }
                (more)
            };
            sections.push((id, title, content));
        }
    };
    if a.verdict.is_some() {
        let tables = html! {
            (table(&tables::verdict(a)))
            (table(&tables::reuse(a)))
        };
        part("verdict", "The verdict", of(Part::Verdict), tables);
    }
    let results = html! {
        (table(&tables::surface(a)))
        (table(&tables::differences(a)))
        (table(&tables::equivalence(a)))
        (table(&tables::leave_one_out(a)))
    };
    part("results", "Results", Vec::new(), results);
    part("seeds", "The twins of each seed", of(Part::Seeds), html! {});
    let steps = table(&tables::reach(a));
    part("learning", "Learning", of(Part::Learning), steps);
    let tables = html! { @for t in behaviour::tables(a) { (table(&t)) } };
    part("behaviour", "Behaviour", of(Part::Behaviour), tables);
    part("grid", "The whole grid", of(Part::Grid), html! {});
    let looks = table(&tables::looks(a));
    part("looks", "How many seeds", Vec::new(), looks);
    let asked = html! {
        (table(&mechanisms::alike(a)))
        (table(&ceilings::table(a)))
        (table(&inspections::table(sweep, a)))
        (table(&inspections::notes(sweep, a)))
    };
    part(
        "mechanisms",
        "Inside the networks",
        of(Part::Mechanisms),
        asked,
    );
    let every = html! {
        @for block in a.blocks() { (table(&tables::seeds(a, block))) }
        (table(&tables::success(a)))
    };
    part("every-seed", "Every seed", Vec::new(), every);
    if !a.notes.is_empty() {
        let notes = html! { ul { @for note in &a.notes { li { (note) } } } };
        sections.push(("notes", "Notes on the runs", notes));
    }
    sections.push(("method", "How it was computed", method(a, sweep)));
    sections.push((
        "sweep",
        "The sweep",
        html! { pre { code { (sweep.yaml) } } },
    ));
    sections
}

fn legend(a: &Analysis, styles: &Styles) -> Markup {
    html! {
        ul.legend {
            @for arm in &a.arms {
                @let style = styles.of(arm);
                li { (PreEscaped(style.swatch())) " " (arm) }
            }
            li { span.dash {} " floors: what shortcuts score" }
        }
    }
}

fn figure(f: &Figure, name: &str, number: usize) -> Markup {
    html! {
        figure id={"figure-" (name)} {
            figcaption.title { b { "Figure " (number) "." } " " (f.title) }
            div.scroll { (PreEscaped(&f.svg)) }
            figcaption { (f.caption) " File: " code { "figures/" (name) ".svg" } "." }
        }
    }
}

fn table(t: &Table) -> Markup {
    if t.is_empty() {
        return html! {};
    }
    let class = |i: usize| {
        t.columns
            .get(i)
            .is_some_and(|c| c.numeric)
            .then_some("number")
    };
    let wide = (t.columns.len() > 9).then_some("wide");
    // Cells are kept on one line, as far as that is one that fits.
    let long = |cell: &str| (cell.chars().count() > 48).then_some("long");
    html! {
        figure.table {
            figcaption.title { (t.title) }
            div.scroll {
                table class=[wide] {
                    thead { tr { @for (i, c) in t.columns.iter().enumerate() {
                        th class=[class(i)] { (c.head) }
                    } } }
                    @for section in &t.sections {
                        tbody { @for row in section { tr {
                            @for (i, cell) in row.iter().enumerate() {
                                td class=[class(i).or(long(cell))] {
                                    @if class(i).is_some() { (parted(cell)) } @else { (cell) }
                                }
                            }
                        } } }
                    }
                }
            }
            @if !t.note.is_empty() { figcaption { (t.note) } }
        }
    }
}

/// A cell that may be broken before its interval, where the page is too narrow.
fn parted(cell: &str) -> Markup {
    match cell.split_once(" [") {
        Some((estimate, interval)) => html! {
            span { (estimate) } " " span { "[" (interval) }
        },
        None => html! { span { (cell) } },
    }
}

fn method(a: &Analysis, sweep: &SweepResults) -> Markup {
    html! {
        ul {
            li {
                "A seed is an independent initialisation and data order over one fixed split of "
                "the task. The twins of a seed see the same data in the same order, so arms are "
                "compared within seeds."
            }
            li {
                "Interval: Student's t below 20 seeds, BCa bootstrap with 10,000 seeded resamples "
                "from 20 on. p: two-sided sign-flip test, exact below 20 pairs. Here: "
                (count(a.seeds.len(), "seed")) "."
            }
            @if a.cells.iter().flat_map(|c| c.summaries.keys()).any(|id| shares_networks(&id.name)) {
                li {
                    "Networks of one arm are compared in pairs of a seed and the next, so each "
                    "stands in two pairs. Interval of their means: "
                    (Method::JackknifeT.words())
                    ", from three pairs on; bands: each point by itself; no test between arms."
                }
            }
            @if let Some(words) = answer::looks(a) { li { (words) } }
            @if a.verdict.is_some() {
                li {
                    "Reuse of a layer: U = 1 − clip(R̄/Ā, 0, 1), with R the share of the logit "
                    "difference that is lost when the block is reset to its own initial weights, A "
                    "that lost when it is removed, both averaged over seeds before the ratio is "
                    "taken; not available where A's interval does not lie above zero. L(U) is the "
                    "mean of U over the last third of layers minus that over the first. Intervals: joint "
                    "bootstrap over seeds. Matched: the first evaluation at or above .95 "
                    "validation accuracy. The three conditions must hold at once, so none is "
                    "corrected for the others."
                }
            }
            li {
                "g_z is Hedges' standardised mean of the differences, P(improve) the share of "
                "seeds in which the arm does better than its twin: above it, or below where less "
                "is better (ties count half). Without any spread g_z and t are NA."
            }
            @if let Some(select) = &a.compare.select {
                li {
                    "The value of " code { (select.axis) } " is chosen for each arm and "
                    "each set of the other axes by the mean of " code { (select.by) }
                    " over seeds, among the values with the most finished seeds. "
                    @match answer::reopened(sweep) {
                        Some(words) => (words),
                        None => "Tests stay sealed until the choice is on record.",
                    }
                }
            }
            li {
                "Holm's adjustment within the table of paired differences; all other comparisons "
                "(" code { "comparisons.csv" } ") are exploratory, Benjamini–Hochberg, those of "
                "behaviour and those of what was found inside the networks each among themselves."
            }
            li {
                "Incongruent trials are those in which the irrelevant dimension points to the "
                "other side: a network that ignores the cue can't pass them, while plain accuracy "
                "gives it 75 %."
            }
        }
    }
}
