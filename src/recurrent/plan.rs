//! What a recurrent layer asks its cell once, and keeps.

use super::cell::{Cell, Operand, Product};
use crate::error::LayerRule;
use alloc::{string::ToString, vec::Vec};

/// The answers of a cell; those of one without gates where they break a rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) gates: &'static [&'static str],
    pub(super) products: &'static [Product],
    pub(super) memory: usize,
    pub(super) held: usize,
    /// The rule that the answers break.
    pub(super) broken: Option<LayerRule>,
}

/// The most gates, products, and values a unit.
const MOST: usize = 1 << 16;

impl Plan {
    /// The answers of `cell`, checked.
    pub(super) fn of(cell: &impl Cell) -> Self {
        let plan = || Plan {
            gates: cell.gates(),
            products: cell.products(),
            memory: cell.memory(),
            held: cell.held(),
            broken: None,
        };
        let (first, again) = (plan(), plan());
        let same = [
            ("gates", first.gates == again.gates),
            ("products", first.products == again.products),
            ("memory", first.memory == again.memory),
            ("held", first.held == again.held),
        ];
        let changed = same.into_iter().find(|(_, same)| !same).map(|(method, _)| LayerRule::Changed { method });
        match changed.map_or_else(|| again.check(), Err) {
            Ok(()) => again,
            Err(rule) => Plan { gates: &[], products: &[], memory: 0, held: 0, broken: Some(rule) },
        }
    }

    fn check(&self) -> Result<(), LayerRule> {
        let gates = self.gates.len();
        if gates == 0 {
            return Err(LayerRule::NoGates);
        }
        let mut names: Vec<&str> = self.gates.to_vec();
        names.sort_unstable();
        if names[0].is_empty() {
            return Err(LayerRule::NoName { what: "gate" });
        }
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(LayerRule::NameTwice { what: "gate", name: pair[0].to_string() });
        }
        for (method, found) in
            [("gates", gates), ("products", self.products.len()), ("memory", self.memory), ("held", self.held)]
        {
            if found > MOST {
                return Err(LayerRule::CellSize { method, found, limit: MOST });
            }
        }
        let mut separate = None;
        for (product, Product { gates: of, stage, operand, separate: apart }) in self.products.iter().enumerate() {
            if of.is_empty() || of.end > gates {
                return Err(LayerRule::ProductGates { product, start: of.start, end: of.end, gates });
            }
            if (*operand, *stage) == (Operand::Own, 0) {
                return Err(LayerRule::OwnOperandAtStart { product });
            }
            if *apart {
                let expected = separate.unwrap_or(of.start);
                if of.start != expected {
                    return Err(LayerRule::SeparateGates { product, expected, found: of.start });
                }
                separate = Some(of.end);
            }
        }
        let mut stages: Vec<usize> = self.products.iter().map(|product| product.stage).collect();
        stages.push(0);
        stages.sort_unstable();
        match stages.windows(2).find(|pair| pair[1] - pair[0] > 1) {
            Some(pair) => Err(LayerRule::StageWithoutProduct { stage: pair[0] + 1 }),
            None => Ok(()),
        }
    }
}
