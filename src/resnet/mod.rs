//! The same questions asked of a real network: a ResNet with SimCLR or DirectCLR, on the CPU or on an NVIDIA GPU.
//!
//! Nothing of the library that differentiates leaves this room. Pictures and their views (`images`, `views`) are plain numbers;
//! `architecture` says what a network consists of, by torchvision's names, `weights` holds it, `forward` follows it, and `train`
//! moves it. What is measured (`measure`, `probe`) is by the same spectra, ranks and floors as of linear networks.

mod architecture;
mod checkpoint;
mod contrastive;
mod forward;
mod images;
mod kernels;
mod measure;
mod operations;
mod optimiser;
mod picture;
mod prefetch;
mod probe;
mod shapes;
mod train;
mod views;
mod weights;

#[cfg(test)]
mod example;
#[cfg(test)]
mod reference;

use crate::experiment::Plan;
use crate::run::{Completed, Conduct, Engine};

/// Where a network is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The cores of this machine.
    #[default]
    Cpu,
    /// The first NVIDIA GPU.
    #[cfg(feature = "cuda")]
    Cuda,
}

/// The engine of real networks.
#[derive(Clone, Copy, Debug)]
pub struct RealNetworks {
    device: Device,
}

impl RealNetworks {
    /// On this device.
    ///
    /// # Errors
    /// A device that is not there, in words.
    pub fn new(device: Device) -> Result<RealNetworks, String> {
        #[cfg(feature = "cuda")]
        if device == Device::Cuda {
            cuda::check()?;
        }
        Ok(RealNetworks { device })
    }
}

impl Engine for RealNetworks {
    fn run(&self, plan: &Plan, conduct: &Conduct<'_>) -> Result<Completed, String> {
        match self.device {
            Device::Cpu => train::train::<burn::backend::Flex>(plan, conduct, Default::default()),
            #[cfg(feature = "cuda")]
            Device::Cuda => train::train::<burn::backend::Cuda>(plan, conduct, Default::default()),
        }
    }
}

/// Whether there is a GPU: the backend itself panics where there is none.
#[cfg(feature = "cuda")]
mod cuda {
    pub(super) fn check() -> Result<(), String> {
        const REMEDY: &str = "install NVIDIA's driver, or leave out --device cuda";
        // SAFETY: it opens the library and closes it again; what a library does when it is opened is in the hands of whoever
        // installed the driver, as in any program that uses it.
        #[expect(
            unsafe_code,
            reason = "the backend panics where the library is not there, and nothing safe tells beforehand"
        )]
        let is_there = unsafe { cudarc::driver::sys::is_culib_present() };
        if !is_there {
            return Err(format!("there is no CUDA driver on this machine (libcuda is not found); {REMEDY}"));
        }
        match cudarc::driver::CudaContext::new(0) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the first GPU cannot be used: {error}; {REMEDY}")),
        }
    }
}
