//! Says why an AWS Application Load Balancer answers 502 while every target is Healthy.

pub mod access_log;
pub mod config;
pub mod detection;
pub mod diagnosis;
pub mod event;
pub mod local;
pub mod neutralize;
pub mod notification;
pub mod numbers;
pub mod ports;
