//! Random derivations.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::Failed;
use nix_store::derivation::{Derivation, Output};
use nix_store::store_path::{BASE32, StorePath};

/// Numbers that look random and are the same in every run (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (number ^ (number >> 31)) as usize % limit
    }

    fn several<T>(&mut self, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(5)).map(|_| item(self)).collect()
    }

    /// Text in which everything that has a meaning in a .drv file is frequent.
    fn text(&mut self) -> String {
        const PARTS: [&str; 18] = [
            "\"",
            "\\",
            "\n",
            "\r",
            "\t",
            "\\n",
            "(",
            ")",
            "[",
            "]",
            ",",
            "",
            "a",
            "out",
            "ß",
            "\u{0}",
            "𝄞",
            "/nix/store",
        ];
        (0..self.below(8)).map(|_| PARTS[self.below(PARTS.len())]).collect()
    }

    fn store_path(&mut self) -> StorePath {
        let hash: String = (0..32).map(|_| char::from(BASE32[self.below(32)])).collect();
        let name = ["a", "a.drv", "b-1.0", "_=?+"][self.below(4)];
        StorePath::parse(&format!("/nix/store/{hash}-{name}")).unwrap()
    }

    fn derivation(&mut self) -> Derivation {
        let texts = |random: &mut Self| (random.text(), random.text());
        Derivation {
            outputs: self
                .several(|random| {
                    (random.text(), Output { path: random.text(), algorithm: random.text(), hash: random.text() })
                })
                .into_iter()
                .collect(),
            input_derivations: BTreeMap::from_iter(
                self.several(|random| (random.store_path(), BTreeSet::from_iter(random.several(Self::text)))),
            ),
            input_sources: BTreeSet::from_iter(self.several(Self::store_path)),
            system: self.text(),
            builder: self.text(),
            arguments: self.several(Self::text),
            environment: BTreeMap::from_iter(self.several(texts)),
        }
    }
}

pub fn round_trip() -> Result<(), Failed> {
    for seed in 0..2000 {
        let derivation = Random(seed).derivation();
        let text = derivation.text();
        let read = Derivation::parse(&text).map_err(|error| format!("seed {seed}: {error} in {text}"))?;
        assert_eq!(read, derivation, "seed {seed}");
        // What has no output paths to leave out is left as it is.
        let blank = Derivation::parse(&read.text_without_outputs())?;
        assert_eq!(blank.text(), read.text_without_outputs(), "seed {seed}");
    }
    Ok(())
}

pub fn damaged() -> Result<(), Failed> {
    let mut refused = 0;
    for seed in 0..2000 {
        let mut random = Random(seed);
        let text = random.derivation().text();
        let (end, damaged) = text.char_indices().nth(random.below(text.chars().count())).unwrap();
        assert!(Derivation::parse(&text[..end]).is_err(), "seed {seed} cut at {end}");
        let changed = format!("{}!{}", &text[..end], &text[end + damaged.len_utf8()..]);
        refused += usize::from(Derivation::parse(&changed).is_err());
    }
    // A change within a string makes another derivation, most others make none.
    assert!(refused > 500, "{refused}");
    Ok(())
}
