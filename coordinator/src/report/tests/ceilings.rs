//! Noise ceilings in tables, files and the figure.

use seedbed_proto::job::Moment;

use super::inspected::inspected;
use super::*;
use crate::aggregate::NoiseCeiling;
use crate::aggregate::ceilings::CeilingAt;
use crate::aggregate::stats::Ceiling;

/// One arm has a ceiling from the second depth on, the other one none.
fn with_ceilings(results: &SweepResults) -> Analysis {
    let mut a = analysed(results);
    let of = |cell: &crate::aggregate::Cell| {
        let known = cell.arm == "pretrained";
        let at = |layer: u32| CeilingAt {
            layer: Some(layer),
            slot: Some("last".to_owned()),
            n: if known { 3 } else { 1 },
            ceiling: match (known, layer) {
                (true, 0) => Err("all are equal, in every seed that was read".to_owned()),
                (true, _) => Ok(Ceiling {
                    lower: 0.7,
                    upper: 0.875,
                }),
                (false, _) => Err("fewer than 2 seeds have dissimilarities".to_owned()),
            },
            left_out: vec![(4, "inspection failed".to_owned())],
        };
        NoiseCeiling {
            arm: cell.arm.clone(),
            block: cell.block.clone(),
            point: cell.point.clone(),
            chosen: cell.chosen,
            weights: Moment::Final,
            split: "test_iid",
            planned: 4,
            places: (0..4).map(at).collect(),
        }
    };
    a.ceilings = a.cells.iter().map(of).collect();
    a
}

#[test]
fn a_ceiling_stands_in_file_table_and_figure() {
    let results = inspected();
    let files = files_of(&with_ceilings(&results), &results);
    let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    let rows = text("noise_ceiling.csv");
    let rows: Vec<&str> = rows.lines().collect();
    assert_eq!(rows.len(), 1 + 2 * 4);
    assert_eq!(
        rows[0],
        "arm,learning_rate,frozen,chosen,weights,split,layer,slot,planned,n,lower,upper,\
         left_out,reason"
    );
    let cell = "pretrained,0.0005,none,true,final,test_iid";
    assert_eq!(
        rows[2],
        format!("{cell},1,last,4,3,0.7,0.875,4 (inspection failed),")
    );
    assert!(
        rows[1]
            .ends_with(",,,4 (inspection failed),\"all are equal, in every seed that was read\"")
    );

    let report = text("report.md");
    assert!(
        report.contains(
            "| pretrained | final | 1 | .700 | .875 | 3/4 | seed 4 (inspection failed) |"
        )
    );
    assert!(report.contains("| scratch | final | 3 | NA | NA | 1/4 | fewer than 2 seeds have"));

    let figure = text("figures/similarity.svg");
    let arms = ["RSA, Spearman: pretrained", "RSA, Spearman: scratch"];
    assert!(arms.iter().all(|arm| figure.contains(arm)));
    assert_eq!(figure.matches(">noise ceiling over seeds<").count(), 1);
    let page = text("report.html");
    assert!(page.contains("noise ceiling over seeds (n = 3) of the arm"));
    assert!(page.contains("No noise ceiling, scratch: fewer than 2 seeds have dissimilarities."));
}
