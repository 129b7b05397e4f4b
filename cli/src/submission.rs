//! What the operator of a measurement states of it.

use ondol_conformance::report::Submission;

/// Options of a report that is handed in.
#[derive(clap::Args)]
pub struct SubmissionArgs {
    /// Who applies for the test; the report has it [default: a line to fill in by hand]
    #[arg(long, value_name = "NAME")]
    applicant: Option<String>,
    /// Who carries it out [default: a line to fill in by hand]
    #[arg(long, value_name = "NAME")]
    tester: Option<String>,
    /// The serial number of the device [default: a line to fill in by hand]
    #[arg(long, value_name = "NUMBER")]
    serial: Option<String>,
}

impl SubmissionArgs {
    /// What was stated.
    pub fn stated(&self) -> Submission {
        Submission {
            applicant: self.applicant.clone().unwrap_or_default(),
            tester: self.tester.clone().unwrap_or_default(),
            serial: self.serial.clone().unwrap_or_default(),
        }
    }
}
