//! Files both ways: what transformers saves opens here, and what we save is laid
//! out for `tests/parity/exchange.py` to open there.

use candle_core::DType;

use super::*;

/// The network of `one-head` in the forms in which GPT-2's files are found.
#[test]
fn every_form_in_which_transformers_saves_is_read_to_the_bit() {
    let whole = Reference::read("one-head").weights;
    let check = |variant: &str, dtype: DType| {
        let folder = folder().join("variants").join(variant);
        let config = Config::read(&folder.join("config.json")).expect(variant);
        let read = weights::read(&weights::of_folder(&folder), &config).expect(variant);
        assert!(read.keys().eq(whole.keys()), "{variant}");
        for (name, expect) in &whole {
            let expect = expect.to_dtype(dtype).and_then(|t| t.to_dtype(DType::F32));
            assert_eq!(
                values(&read[name]),
                values(&expect.expect("cast")),
                "{variant}: {name}"
            );
        }
    };
    check("sharded", DType::F32);
    check("bare-f16-sharded", DType::F16);
    check("bf16", DType::BF16);
    check("published", DType::F32);
}

/// A folder for `from_pretrained` per shape, with logits that it must give. They
/// stay where `SEEDBED_PARITY_SAVES` says, or go with the test.
#[test]
fn what_we_save_is_what_we_read() {
    let temporary = tempfile::tempdir().expect("a folder");
    let saves = match std::env::var_os("SEEDBED_PARITY_SAVES") {
        Some(folder) => folder.into(),
        None => temporary.path().to_owned(),
    };
    // That of half precision: our file is f32, and its configuration must say so.
    for shape in SHAPES.iter().copied().chain(["variants/bf16"]) {
        let source = folder().join(shape);
        let config = Config::read(&source.join("config.json")).expect("a configuration");
        let read = weights::read(&weights::of_folder(&source), &config).expect("weights");
        let net = network(&config, &read, &Frozen::None, Ops::Fused);

        let to = saves.join(shape.replace('/', "-"));
        std::fs::create_dir_all(&to).expect("writable");
        net.config()
            .write(&to.join("config.json"))
            .expect("written");
        let path = to.join("model.safetensors");
        weights::write(&path, &net.weights().expect("weights")).expect("written");
        let ids: Vec<u32> = (0..3 * config.positions as u32)
            .map(|i| (i * i + 5 * i) % config.vocab as u32)
            .collect();
        let ids = Tensor::from_vec(ids, (3, config.positions), &Device::Cpu).expect("ids");
        let logits = net.logits_last(&ids).expect("logits");
        let ours = HashMap::from([
            ("tokens", ids.to_dtype(DType::I64).expect("ids")),
            ("logits", logits.clone()),
        ]);
        candle_core::safetensors::save(&ours, to.join("ours.safetensors")).expect("written");

        let text = std::fs::read_to_string(to.join("config.json")).expect("our configuration");
        assert!(!text.contains("bfloat16"), "{shape}: our files are f32");
        let config = Config::parse(&text, &to).expect("our configuration");
        let again = weights::read(&path, &config).expect("our weights");
        assert!(equal(&read, &again, |_| true), "{shape}");
        let net = network(&config, &again, &Frozen::None, Ops::Fused);
        let same = net.logits_last(&ids).expect("logits");
        assert_eq!(values(&same), values(&logits), "{shape}");
    }
}
