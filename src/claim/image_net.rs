//! Statements about ResNet-50 on ImageNet, which need a real network.

use super::finding::Finding;
use super::{Claim, Evidence};

macro_rules! needs_real_network {
    ($($id:literal, $source:literal, $statement:literal;)*) => {
        /// The claims that wait for the record of a real network.
        pub(super) const CLAIMS: &[Claim] = &[$(Claim {
            id: $id,
            source: $source,
            statement: $statement,
            formula: "",
            evidence: Evidence::RealNetwork,
            experiments: &[],
            judge: |_| Ok(Finding::inconclusive("needs a real-network run")),
        }),*];
    };
}

needs_real_network![
    "figure-2", "Figure 2", "SimCLR with ResNet-50 and a 2-layer projector: about 30 of the 128 singular values of the embedding covariance collapse.";
    "figure-7b", "Figure 7b", "Without a projector the spectrum of the 2048-dimensional representation collapses; with one it does not.";
    "figure-9", "Figure 9", "Of DirectCLR and SimCLR with a nonlinear, a linear and no projector, only the last collapses the representation.";
    "figure-12", "Figure 12", "The accuracy of DirectCLR drops for d0 to 0 and for d0 to 2048.";
    "table-1", "Table 1", "Linear-probe accuracies: DirectCLR (62.7 %) lies above a linear projector (61.1 %) and none (51.5 %), below a nonlinear one (66.5 %).";
    "table-2", "Table 2", "Trainable or fixed, diagonal or low-rank linear projectors reach 60 to 63 %; an orthogonal one (52.2 %) is no better than none (51.5 %).";
];
