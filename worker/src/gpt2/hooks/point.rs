//! Names of the places in a network where activations can be read or replaced.
//!
//! The names are TransformerLens's. B batch, S positions of the pass, T keys, C
//! width, F inner width, H heads, D = C / H.

use std::fmt;
use std::str::FromStr;

use super::HookError;

/// A place in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// `hook_embed`: token embeddings (B, S, C).
    Embed,
    /// `hook_pos_embed`: position embeddings (B, S, C).
    PosEmbed,
    /// `blocks.LAYER.SITE`.
    Block(usize, Site),
    /// `ln_final.hook_scale`: what the final LayerNorm divides by (B, S, 1).
    FinalScale,
    /// `ln_final.hook_normalized`: what is unembedded (B, S, C).
    FinalNormalized,
}

/// A place in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// The stream that enters (B, S, C).
    ResidPre,
    /// What the first LayerNorm divides by (B, S, 1).
    Ln1Scale,
    /// What attention reads (B, S, C).
    Ln1Normalized,
    /// Queries, heads side by side (B, S, H·D).
    Q,
    /// Keys of the pass's own positions, heads side by side (B, S, H·D).
    K,
    /// Values, likewise (B, S, H·D).
    V,
    /// Scaled scores, -∞ at later keys (B, H, S, T).
    AttnScores,
    /// Attention probabilities (B, H, S, T).
    Pattern,
    /// Mixed values, heads side by side (B, S, H·D).
    Z,
    /// What attention adds to the stream (B, S, C).
    AttnOut,
    /// The stream after it (B, S, C).
    ResidMid,
    /// What the second LayerNorm divides by (B, S, 1).
    Ln2Scale,
    /// What the MLP reads (B, S, C).
    Ln2Normalized,
    /// Its hidden layer before the GELU (B, S, F).
    MlpPre,
    /// And after it (B, S, F).
    MlpPost,
    /// What the MLP adds to the stream (B, S, C).
    MlpOut,
    /// The stream that leaves (B, S, C).
    ResidPost,
}

/// Names within a block.
const SITES: [(Site, &str); 17] = [
    (Site::ResidPre, "hook_resid_pre"),
    (Site::Ln1Scale, "ln1.hook_scale"),
    (Site::Ln1Normalized, "ln1.hook_normalized"),
    (Site::Q, "attn.hook_q"),
    (Site::K, "attn.hook_k"),
    (Site::V, "attn.hook_v"),
    (Site::AttnScores, "attn.hook_attn_scores"),
    (Site::Pattern, "attn.hook_pattern"),
    (Site::Z, "attn.hook_z"),
    (Site::AttnOut, "hook_attn_out"),
    (Site::ResidMid, "hook_resid_mid"),
    (Site::Ln2Scale, "ln2.hook_scale"),
    (Site::Ln2Normalized, "ln2.hook_normalized"),
    (Site::MlpPre, "mlp.hook_pre"),
    (Site::MlpPost, "mlp.hook_post"),
    (Site::MlpOut, "hook_mlp_out"),
    (Site::ResidPost, "hook_resid_post"),
];

/// Names outside of blocks.
const OUTSIDE: [(Point, &str); 4] = [
    (Point::Embed, "hook_embed"),
    (Point::PosEmbed, "hook_pos_embed"),
    (Point::FinalScale, "ln_final.hook_scale"),
    (Point::FinalNormalized, "ln_final.hook_normalized"),
];

/// How an activation is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axes {
    /// (B, S, C) or another width, without heads.
    Stream,
    /// (B, S, H·D).
    Heads,
    /// (B, H, S, T).
    Scores,
}

impl Point {
    /// Its block.
    pub fn layer(self) -> Option<usize> {
        match self {
            Self::Block(layer, _) => Some(layer),
            _ => None,
        }
    }

    pub(super) fn axes(self) -> Axes {
        match self {
            Self::Block(_, Site::Q | Site::K | Site::V | Site::Z) => Axes::Heads,
            Self::Block(_, Site::AttnScores | Site::Pattern) => Axes::Scores,
            _ => Axes::Stream,
        }
    }
}

impl Site {
    /// The last word of its name: "resid_pre", "z", "pattern".
    pub fn short(self) -> &'static str {
        let name = self.name();
        let last = name.rsplit('.').next().unwrap_or(name);
        last.strip_prefix("hook_").unwrap_or(last)
    }

    fn name(self) -> &'static str {
        let (_, name) = SITES
            .iter()
            .find(|(site, _)| *site == self)
            .expect("the table has every site, as its test proves");
        name
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(layer, site) => write!(f, "blocks.{layer}.{}", site.name()),
            outside => {
                let (_, name) = OUTSIDE
                    .iter()
                    .find(|(p, _)| p == outside)
                    .expect("the table has every point outside of blocks");
                f.write_str(name)
            }
        }
    }
}

impl FromStr for Point {
    type Err = HookError;

    fn from_str(name: &str) -> Result<Self, HookError> {
        if let Some((point, _)) = OUTSIDE.iter().find(|(_, n)| *n == name) {
            return Ok(*point);
        }
        let in_block = || {
            let (layer, rest) = name.strip_prefix("blocks.")?.split_once('.')?;
            let (site, _) = SITES.iter().find(|(_, n)| *n == rest)?;
            Some(Self::Block(layer.parse().ok()?, *site))
        };
        in_block().ok_or_else(|| HookError::UnknownPoint {
            name: name.to_owned(),
            known: known(),
        })
    }
}

fn known() -> String {
    let inside = SITES.iter().map(|(_, name)| format!("blocks.LAYER.{name}"));
    let outside = OUTSIDE.iter().map(|(_, name)| (*name).to_owned());
    outside.chain(inside).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_as_it_is_written() {
        let points = SITES.iter().map(|&(site, _)| Point::Block(3, site));
        for point in points.chain(OUTSIDE.map(|(point, _)| point)) {
            assert_eq!(point.to_string().parse::<Point>().expect("known"), point);
        }
        let z: Point = "blocks.11.attn.hook_z".parse().expect("known");
        assert_eq!(z, Point::Block(11, Site::Z));
    }

    #[test]
    fn an_unknown_name_is_told_with_those_that_there_are() {
        for name in [
            "blocks.1.hook_z",
            "blocks.x.attn.hook_z",
            "hook_resid_pre",
            "",
        ] {
            let error = name.parse::<Point>().expect_err("unknown").to_string();
            assert!(
                error.starts_with(&format!("no hook point {name:?}")),
                "{error}"
            );
            assert!(error.contains("blocks.LAYER.attn.hook_z"), "{error}");
        }
    }
}
