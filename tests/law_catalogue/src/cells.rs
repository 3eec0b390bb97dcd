//! Cells: the equations of known ones, and mistakes in equations and in what they state.

use crate::{Entry, Verdict};
use chainrule::{
    Activation, Gate, Scalar,
    activation::{AnyActivation, HardSigmoid, HardTanh, Relu, Sigmoid, Tanh},
    recurrent::{Cell, CellBackward, CellForward, CellSizes, Operand, Product},
    scalar,
    testing::{Law, cell_laws},
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    // Right ones.
    Minimal,
    Leaky,
    Peephole,
    Coupled,
    HardGates,
    RectifiedCandidate,
    Undeclared,
    Integrator,
    ClippedState,
    // Wrong: what is declared.
    LeakyCarries,
    IntegratorCarries,
    InputCarries,
    SigmoidIsHard,
    TanhIsHard,
    CandidateIsRectified,
    CandidateIsSigmoid,
    GateIsTanh,
    DeclarationsSwapped,
    RectifiedIsTanh,
    HardIsSigmoid,
    CandidateCarriesUndeclared,
    // Wrong: what is shown of the pre-activation of the gate.
    ShownDoubled,
    ShownShifted,
    ShownSquashed,
    // Wrong: equations.
    KeepsTooLittleAtStepZero,
    GradientDroppedAtZeroState,
    ForgetGradientClamped,
    CandidateGradientSaturates,
    StateGradientClamped,
    ExponentialGateOverflows,

    LastUnitWithoutForget,
    UnitsBeyondSixteen,
    PreviousGradientOverwritten,
    ForgetFromUpdatedState,
    StateNotReturnedWithoutSave,
    HiddenForCellInGradient,
    SavedValueIgnored,
    TanhOfStateForgotten,
    IncomingCellGradientLost,
    CellGradientPassedWhole,
    CandidateSlopeOfInput,
    InputGateTwice,
    OutputGateOfOldState,
}

use Kind::*;

/// `c = f ⊙ c′ + i ⊙ g`, `h = o ⊙ tanh c`, or a leaky or minimal form of it.
#[derive(Clone, Copy, Debug)]
struct Built(Kind);

impl Built {
    /// Gates that the kind has.
    fn minimal(self) -> bool {
        matches!(
            self.0,
            Minimal
                | Leaky
                | LeakyCarries
                | Undeclared
                | PreviousGradientOverwritten
                | GradientDroppedAtZeroState
                | CandidateCarriesUndeclared
        ) || self.shows_another()
    }

    fn shows_another(self) -> bool {
        matches!(self.0, ShownDoubled | ShownShifted | ShownSquashed)
    }

    fn leaky(self) -> bool {
        matches!(self.0, Leaky | LeakyCarries)
    }

    fn gate<T: Scalar>(self, z: T) -> (T, T) {
        let hard = matches!(self.0, HardGates | SigmoidIsHard);
        if hard {
            (HardSigmoid.value(z), HardSigmoid.derivative(z, HardSigmoid.value(z)))
        } else if self.0 == ExponentialGateOverflows {
            let e = z.exp();
            (e / (T::one() + e), e / ((T::one() + e) * (T::one() + e)))
        } else {
            (Sigmoid.value(z), Sigmoid.derivative(z, Sigmoid.value(z)))
        }
    }

    fn candidate<T: Scalar>(self, z: T) -> (T, T) {
        match self.0 {
            RectifiedCandidate | CandidateIsRectified => (Relu.value(z), Relu.derivative(z, Relu.value(z))),
            TanhIsHard => {
                let hard = HardTanh::default();
                (hard.value(z), hard.derivative(z, hard.value(z)))
            }
            CandidateIsSigmoid => (Sigmoid.value(z), Sigmoid.derivative(z, Sigmoid.value(z))),
            _ => (Tanh.value(z), Tanh.derivative(z, Tanh.value(z))),
        }
    }
}

impl Cell for Built {
    fn gates(&self) -> &'static [Gate] {
        const ALL: &[Gate] =
            &[Gate::new("input"), Gate::carrying_state("forget"), Gate::new("candidate"), Gate::new("output")];
        const NONE: &[Gate] = &[Gate::new("input"), Gate::new("forget"), Gate::new("candidate"), Gate::new("output")];
        const INPUT: &[Gate] =
            &[Gate::carrying_state("input"), Gate::new("forget"), Gate::new("candidate"), Gate::new("output")];
        const CANDIDATE: &[Gate] =
            &[Gate::new("input"), Gate::new("forget"), Gate::carrying_state("candidate"), Gate::new("output")];
        let all = match self.0 {
            Leaky | Integrator => NONE,
            InputCarries => INPUT,
            CandidateCarriesUndeclared => CANDIDATE,
            _ => ALL,
        };
        if self.minimal() { &all[1..3] } else { all }
    }

    fn sizes(&self) -> CellSizes {
        CellSizes { cell_state: usize::from(!self.minimal()), between_stages: 0 }
    }

    fn activation(&self, gate: usize) -> Option<&dyn AnyActivation> {
        let candidate = if self.minimal() { gate == 1 } else { gate == 2 };
        Some(match (self.0, candidate) {
            (Undeclared | CandidateCarriesUndeclared, _) => return None,
            (HardGates, false) | (HardIsSigmoid, false) => &HardSigmoid,
            (RectifiedCandidate, true) | (RectifiedIsTanh, true) => &Relu,
            (GateIsTanh, false) => &Tanh,
            (DeclarationsSwapped, true) => &Sigmoid,
            (DeclarationsSwapped, false) => &Tanh,
            (_, true) => &Tanh,
            (_, false) => &Sigmoid,
        })
    }

    fn forward<T: Scalar>(&self, _: usize, unit: CellForward<'_, T>) {
        let n = unit.h_prev.len();
        for j in 0..n {
            if self.minimal() {
                if self.shows_another() && !unit.monitored_z.is_empty() {
                    let z = unit.z[j];
                    unit.monitored_z[j] = match self.0 {
                        ShownDoubled => z + z,
                        ShownShifted => z + T::one(),
                        _ => z.tanh(),
                    };
                }
                let ((f, _), (g, _)) = (self.gate(unit.z[j]), self.candidate(unit.z[n + j]));
                unit.h[j] = if self.leaky() {
                    scalar::<T>(0.5) * unit.h_prev[j] + f * g
                } else {
                    f * unit.h_prev[j] + (T::one() - f) * g
                };
                continue;
            }
            let [zi, zf, zg, zo] = [0, 1, 2, 3].map(|gate| unit.z[gate * n + j]);
            let ((i, _), (f, _), (g, _), (o, _)) = (self.gate(zi), self.gate(zf), self.candidate(zg), self.gate(zo));
            let kept = unit.cell_state_prev[j];
            let mut c = match self.0 {
                Coupled => f * kept + (T::one() - f) * g + i * scalar(0.1),
                Peephole => f * kept + i * g + scalar::<T>(0.1) * unit.h_prev[j],
                Integrator | IntegratorCarries => kept + i * g * f,
                KeepsTooLittleAtStepZero if unit.h_prev.iter().all(|h| h.is_zero()) => i * i * g,

                _ => f * kept + i * g,
            };
            if self.0 == ClippedState && c.abs() > scalar(2.0) {
                c = c.signum() * scalar(2.0);
            }
            if !(self.0 == StateNotReturnedWithoutSave && !unit.saves) {
                unit.cell_state[j] = c;
            }
            unit.h[j] = o * Tanh.value(c);
        }
    }

    fn backward<T: Scalar>(&self, _: usize, unit: CellBackward<'_, T>) {
        let n = unit.h_prev.len();
        for j in 0..n {
            let dh = unit.d_h[j];
            if self.minimal() {
                let ((f, df), (g, dg)) = (self.gate(unit.z[j]), self.candidate(unit.z[n + j]));
                let (kept, rest) = if self.leaky() { (scalar(0.5), f) } else { (f, T::one() - f) };
                let through = match self.0 {
                    GradientDroppedAtZeroState if unit.h_prev[j].is_zero() => T::zero(),
                    _ => dh * kept,
                };
                if self.0 == PreviousGradientOverwritten {
                    unit.d_h_prev[j] = through + scalar::<T>(0.0) * unit.d_h_prev[j];
                    unit.d_h_prev[j] = through * scalar(0.999);
                } else {
                    unit.d_h_prev[j] += through;
                }
                unit.z[j] = if self.leaky() { dh * g * df } else { dh * (unit.h_prev[j] - g) * df };
                unit.z[n + j] = dh * rest * dg;
                continue;
            }
            let [zi, zf, zg, zo] = [0, 1, 2, 3].map(|gate| unit.z[gate * n + j]);
            let ((i, di), (f, df), (g, dg), (o, d_o)) =
                (self.gate(zi), self.gate(zf), self.candidate(zg), self.gate(zo));
            let (c, kept) = (unit.cell_state[j], unit.cell_state_prev[j]);
            let squashed = Tanh.value(c);
            let mut dc = unit.d_cell_state[j] + dh * o * Tanh.derivative(c, squashed);
            if self.0 == ClippedState && c.abs() >= scalar(2.0) {
                dc = T::zero();
            }
            if self.0 == TanhOfStateForgotten {
                dc = unit.d_cell_state[j] + dh * o;
            }
            if self.0 == IncomingCellGradientLost {
                dc = dh * o * Tanh.derivative(c, squashed);
            }
            if self.0 == StateGradientClamped {
                dc = dc.max(scalar(-4.0)).min(scalar(4.0));
            }
            let mut d = [dc * g * di, dc * kept * df, dc * i * dg, dh * squashed * d_o];
            let mut through = dc * f;
            match self.0 {
                Coupled => {
                    d[0] = dc * scalar(0.1) * di;
                    d[1] = dc * (kept - g) * df;
                    d[2] = dc * (T::one() - f) * dg;
                }
                Peephole => unit.d_h_prev[j] += scalar::<T>(0.1) * dc,
                Integrator | IntegratorCarries => {
                    d = [dc * g * f * di, dc * i * g * df, dc * i * f * dg, d[3]];
                    through = dc;
                }

                LastUnitWithoutForget if j + 1 == n && n > 4 => d[1] = T::zero(),
                UnitsBeyondSixteen if j >= 16 => d[1] = -d[1],
                ForgetGradientClamped => d[1] = d[1].max(scalar(-0.05)).min(scalar(0.05)),
                CandidateGradientSaturates if g.abs() > scalar(0.9) => d[2] = T::zero(),
                CandidateSlopeOfInput => d[2] = dc * i * di,
                InputGateTwice => d[0] = d[0] + d[0],
                OutputGateOfOldState => d[3] = dh * Tanh.value(kept) * d_o,
                CellGradientPassedWhole => through = dc,
                ForgetFromUpdatedState => d[1] = dc * c * df,
                HiddenForCellInGradient => d[1] = dc * unit.h_prev[j] * df,
                SavedValueIgnored => d[3] = dh * Tanh.value(g) * d_o,
                _ => {}
            }
            d.iter().enumerate().for_each(|(gate, &d)| unit.z[gate * n + j] = d);
            unit.d_cell_state[j] = through;
        }
    }
}

/// A gated unit with a separate product, shown to monitors or not: `n = tanh(z_n + r ⊙ u)`.
#[derive(Clone, Copy, Debug)]
struct Separate {
    shown: bool,
}

impl Cell for Separate {
    fn gates(&self) -> &'static [Gate] {
        const { &[Gate::new("reset"), Gate::new("candidate")] }
    }

    fn products(&self) -> Vec<Product> {
        vec![
            Product { gates: 0..1, stage: 0, operand: Operand::Hidden, keep_separate: false },
            Product { gates: 1..2, stage: 0, operand: Operand::Hidden, keep_separate: true },
        ]
    }

    fn activation(&self, gate: usize) -> Option<&dyn AnyActivation> {
        Some(if gate == 0 { &Sigmoid } else { &Tanh })
    }

    fn forward<T: Scalar>(&self, _: usize, unit: CellForward<'_, T>) {
        let n = unit.h_prev.len();
        for j in 0..n {
            let added = Sigmoid.value(unit.z[j]) * unit.u[j];
            if self.shown && !unit.monitored_z.is_empty() {
                unit.monitored_z[n + j] += added;
            }
            unit.h[j] = scalar::<T>(0.5) * unit.h_prev[j] + Tanh.value(unit.z[n + j] + added);
        }
    }

    fn backward<T: Scalar>(&self, _: usize, unit: CellBackward<'_, T>) {
        let n = unit.h_prev.len();
        for j in 0..n {
            let (reset, dh) = (Sigmoid.value(unit.z[j]), unit.d_h[j]);
            let z = unit.z[n + j] + reset * unit.u[j];
            let dz = dh * Tanh.derivative(z, Tanh.value(z));
            unit.d_h_prev[j] += scalar::<T>(0.5) * dh;
            unit.z[j] = dz * unit.u[j] * Sigmoid.derivative(unit.z[j], reset);
            unit.z[n + j] = dz;
            unit.u[j] = dz * reset;
        }
    }
}

pub fn entries() -> Vec<Entry> {
    let judge = |kind| -> Box<dyn Fn(u64) -> Verdict> { Box::new(move |seed| cell_laws(&Built(kind), seed)) };
    let mut all = Vec::new();
    for kind in [Minimal, Leaky, Peephole, Coupled, HardGates, RectifiedCandidate, Undeclared, Integrator, ClippedState]
    {
        all.push(Entry::right(format!("cell/{kind:?}"), judge(kind)));
    }
    all.push(Entry::right("cell/Separate", |seed| cell_laws(&Separate { shown: true }, seed)));
    all.push(Entry::wrong("cell/SeparateNotShown", Law::CellFacts, |seed| cell_laws(&Separate { shown: false }, seed)));
    for (kind, law) in [
        (LeakyCarries, Law::CellFacts),
        (IntegratorCarries, Law::CellFacts),
        (InputCarries, Law::CellFacts),
        (SigmoidIsHard, Law::CellFacts),
        (TanhIsHard, Law::CellFacts),
        (CandidateIsRectified, Law::CellFacts),
        (CandidateIsSigmoid, Law::CellFacts),
        (GateIsTanh, Law::CellFacts),
        (DeclarationsSwapped, Law::CellFacts),
        (RectifiedIsTanh, Law::CellFacts),
        (HardIsSigmoid, Law::CellFacts),
        (CandidateCarriesUndeclared, Law::CellFacts),
        (ShownDoubled, Law::CellFacts),
        (ShownShifted, Law::CellFacts),
        (ShownSquashed, Law::CellFacts),
        (KeepsTooLittleAtStepZero, Law::Adjoint),
        (GradientDroppedAtZeroState, Law::Adjoint),
        (ForgetGradientClamped, Law::Adjoint),
        (CandidateGradientSaturates, Law::Adjoint),
        (StateGradientClamped, Law::Adjoint),
        (ExponentialGateOverflows, Law::Extremes),
        (LastUnitWithoutForget, Law::Adjoint),
        (UnitsBeyondSixteen, Law::Adjoint),
        (PreviousGradientOverwritten, Law::Adjoint),
        (ForgetFromUpdatedState, Law::Adjoint),
        (StateNotReturnedWithoutSave, Law::ModesAgree),
        (HiddenForCellInGradient, Law::Adjoint),
        (SavedValueIgnored, Law::Adjoint),
        (TanhOfStateForgotten, Law::Adjoint),
        (IncomingCellGradientLost, Law::Adjoint),
        (CellGradientPassedWhole, Law::Adjoint),
        (CandidateSlopeOfInput, Law::Adjoint),
        (InputGateTwice, Law::Adjoint),
        (OutputGateOfOldState, Law::Adjoint),
    ] {
        all.push(Entry::wrong(format!("cell/{kind:?}"), law, judge(kind)));
    }
    all
}
