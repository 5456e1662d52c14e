//! The published sizes of GPT-2, from their `config.json` alone.

use std::path::Path;

use super::*;

/// As published: fields of several library versions, sizes filled in.
fn published(layers: usize, heads: usize, width: usize, more: &str) -> String {
    format!(
        r#"{{
  "activation_function": "gelu_new",
  "architectures": ["GPT2LMHeadModel"],
  "attn_pdrop": 0.1,
  "bos_token_id": 50256,
  "embd_pdrop": 0.1,
  "eos_token_id": 50256,
  "initializer_range": 0.02,
  "layer_norm_epsilon": 1e-05,
  "model_type": "gpt2",
  "n_ctx": 1024,
  "n_embd": {width},
  "n_head": {heads},
  "n_layer": {layers},
  "n_positions": 1024,
  "resid_pdrop": 0.1,
  "summary_activation": null,
  "summary_first_dropout": 0.1,
  "summary_proj_to_labels": true,
  "summary_type": "cls_index",
  "summary_use_proj": true,
  "task_specific_params": {{"text-generation": {{"do_sample": true, "max_length": 50}}}},
  {more}
  "vocab_size": 50257
}}"#
    )
}

#[test]
fn every_published_size_has_its_number_of_parameters() {
    let check = |layers, heads, width, more: &str, parameters: usize| {
        let text = published(layers, heads, width, more);
        let config = Config::parse(&text, Path::new("config.json")).expect("a GPT-2");
        let sizes = config.tensors();
        let found: usize = sizes
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        assert_eq!(found, parameters, "{layers} layers");
        assert_eq!(config.inner, 4 * width);
        // What the network doesn't need stays in the file of a trained model.
        assert!(config.to_json().contains("\"do_sample\": true"));
    };
    check(12, 12, 768, "", 124_439_808);
    check(
        24,
        16,
        1024,
        r#""n_special": 0, "predict_special_tokens": true,"#,
        354_823_168,
    );
    check(36, 20, 1280, "", 774_030_080);
    check(48, 25, 1600, r#""output_past": true,"#, 1_557_611_200);
    let distilled =
        r#""_num_labels": 1, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0},"#;
    check(6, 12, 768, distilled, 81_912_576);
}
